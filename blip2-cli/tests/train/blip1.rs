//! BLIP-1 trained and evaluated: it answers questions, or describes pictures.

use std::{fs, path::Path};

use crate::helpers::{errors, losses, run, text};
use blip2_testing::fixture;
use image::{Rgb, RgbImage};

const WORDS: [&str; 4] = ["red", "blue", "green", "black"];

/// IconQA's layout: a folder for each question with the place of its right choice.
fn iconqa(folder: &Path) {
    for number in 0..WORDS.len() {
        let item = folder.join(format!("choose_txt/{number}"));
        fs::create_dir_all(&item).unwrap();
        let level = 60 * number as u8;
        let picture = RgbImage::from_pixel(48, 48, Rgb([level, 255 - level, 100]));
        picture.save(item.join("image.png")).unwrap();
        let choices = serde_json::to_string(&WORDS).unwrap();
        let record = format!(
            "{{\"question\": \"what color?\", \"choices\": {choices}, \"answer\": {number}}}"
        );
        fs::write(item.join("data.json"), record).unwrap();
    }
}

/// The recipe of the examples, with a small model and small numbers.
fn recipe(folder: &Path) -> String {
    let path = fixture("../examples/recipes/blip1_iconqa.toml");
    let recipe = fs::read_to_string(path).unwrap();
    let model = fixture("blip1_vqa");
    let mut changed = recipe;
    for (from, to) in [
        ("\"blip-vqa-base\"", format!("{:?}", text(&model))),
        ("iconqa/train/choose_txt", "choose_txt".into()),
        ("iconqa/val/choose_txt", "choose_txt".into()),
        ("epochs = 3.0", "epochs = 30.0".into()),
        ("lr = 1e-4", "lr = 3e-3".into()),
        ("max_new_tokens = 10", "max_new_tokens = 3".into()),
    ] {
        assert!(changed.contains(from), "{from}");
        changed = changed.replace(from, &to);
    }
    let path = folder.join("recipe.toml");
    fs::write(&path, changed).unwrap();
    text(&path).to_string()
}

#[test]
fn the_recipe_for_iconqa_learns_and_its_result_answers() {
    let folder = tempfile::tempdir().unwrap();
    iconqa(folder.path());
    let recipe = recipe(folder.path());
    let output = run(&["train", &recipe]);
    assert!(output.status.success(), "{}", errors(&output));
    let out = folder.path().join("blip1-iconqa");
    let losses = losses(&out);
    assert!(losses.last().unwrap().1 < losses[0].1, "{losses:?}");
    for (folder, says) in [("model", "finetune"), ("adapter", "adapter")] {
        let card = fs::read_to_string(out.join(folder).join("README.md")).unwrap();
        assert!(card.starts_with("---\nbase_model: "), "{card}");
        assert!(
            card.contains(&format!("base_model_relation: {says}\n")),
            "{card}"
        );
        assert!(
            card.contains("| score |") && card.contains("[lora]"),
            "{card}"
        );
    }
    let answers = folder.path().join("answers.jsonl");
    let (model, adapter) = (out.join("model"), out.join("adapter"));
    let eval = |more: &[&str]| {
        let output = run(&[&["eval", &recipe, "--answers", text(&answers)], more].concat());
        assert!(output.status.success(), "{}", errors(&output));
        fs::read_to_string(&answers).unwrap()
    };
    // The adapter on its base is the model with it merged.
    let merged = eval(&["--model", text(&model)]);
    assert_eq!(merged.lines().count(), WORDS.len());
    assert_eq!(eval(&["--adapter", text(&adapter)]), merged);
}

#[test]
fn a_captioner_learns_captions_and_refuses_questions() {
    let folder = tempfile::tempdir().unwrap();
    iconqa(folder.path());
    let mut lines = String::new();
    for (number, word) in WORDS.iter().enumerate() {
        lines += &format!(
            "{{\"caption\": \"a {word} picture\", \"image\": \"choose_txt/{number}/image.png\"}}\n"
        );
    }
    let file = folder.path().join("train.jsonl");
    fs::write(&file, &lines).unwrap();
    let config = folder.path().join("captions.toml");
    let model = fixture("blip1_caption");
    let written = format!(
        "model = {:?}\nout = \"out\"\n[data]\nkind = \"json-lines\"\nfile = \"train.jsonl\"\n\
         pictures = \".\"\n[train]\nparts = [\"text_decoder\"]\n[recipe]\nsteps = 10\nbatch = 4\n\
         lr = 1e-3\n",
        text(&model)
    );
    fs::write(&config, written).unwrap();
    let output = run(&["train", text(&config)]);
    assert!(output.status.success(), "{}", errors(&output));
    let losses = losses(&folder.path().join("out"));
    assert!(losses.last().unwrap().1 < losses[0].1, "{losses:?}");

    lines +=
        "{\"question\": \"what?\", \"answer\": \"red\", \"image\": \"choose_txt/0/image.png\"}\n";
    fs::write(&file, &lines).unwrap();
    let output = run(&["train", text(&config), "--dry-run"]);
    assert!(!output.status.success());
    assert!(
        errors(&output).contains("reads no questions"),
        "{}",
        errors(&output)
    );
}
