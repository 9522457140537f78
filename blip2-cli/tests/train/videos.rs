//! A model of videos, trained on folders of frames.

use std::fs;

use image::{Rgb, RgbImage};

use super::helpers::{errors, losses, run, text};

#[test]
fn videos_are_trained_on_and_still_pictures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let videos = folder.path().join("videos");
    let mut lines = String::new();
    for (number, answer) in ["red", "blue", "green"].iter().enumerate() {
        let at = videos.join(number.to_string());
        fs::create_dir_all(&at).unwrap();
        for frame in 0..6u8 {
            let level = 40 * frame;
            let picture = RgbImage::from_pixel(20, 16, Rgb([level, 80 * number as u8, 0]));
            picture.save(at.join(format!("{frame}.png"))).unwrap();
        }
        lines += &format!(
            "{{\"video\": \"{number}\", \"question\": \"what is it?\", \"answer\": \"{answer}\"}}\n"
        );
    }
    fs::write(folder.path().join("videos.jsonl"), &lines).unwrap();
    fs::write(
        folder.path().join("stills.jsonl"),
        lines.replace("\", \"question", "/0.png\", \"question"),
    )
    .unwrap();
    let model = blip2_testing::fixture("instructblipvideo_t5");
    let training = |file: &str| {
        let data = format!("kind = \"json-lines\"\nfile = {file:?}\npictures = \"videos\"");
        let config = folder.path().join(format!("{file}.toml"));
        let more = "[train]\nparts = [\"qformer\", \"query_tokens\", \"language_projection\"]\n\
                    [lora]\nrank = 2\ntargets = [\"q\", \"v\"]\n\
                    [recipe]\nsteps = 6\nbatch = 3\nlr = 1e-3\n[recipe.augmentation]\nshift = 2\n";
        let config_text = format!(
            "model = {model:?}\nout = \"{file}.out\"\n[data]\n{data}\n[validation]\n\
             score = \"exact-match\"\n[validation.data]\n{data}\n{more}"
        );
        fs::write(&config, config_text).unwrap();
        config
    };
    let config = training("videos.jsonl");
    let output = run(&["train", text(&config)]);
    assert!(output.status.success(), "{}", errors(&output));
    let out = folder.path().join("videos.jsonl.out");
    let losses = losses(&out);
    assert!(losses[5].1 < losses[0].1, "{losses:?}");
    let trained = out.join("model");
    let sheet = folder.path().join("sheet.png");
    let eval = [
        "eval",
        text(&config),
        "--model",
        text(&trained),
        "--sheet",
        text(&sheet),
    ];
    let output = run(&eval);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(sheet.exists());

    let output = run(&["train", text(&training("stills.jsonl"))]);
    assert_eq!(output.status.code(), Some(1));
    let told = errors(&output);
    assert!(
        told.contains("is a model of videos, and its data are still pictures"),
        "{told}"
    );
}

/// A folder of frames is no picture for a model that sees one.
#[test]
fn a_video_is_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    super::helpers::data(folder.path());
    let line = "{\"image\": \"0\", \"question\": \"what?\", \"answer\": \"red\"}\n";
    fs::write(folder.path().join("train.jsonl"), line).unwrap();
    let path = super::helpers::config(folder.path(), "out", super::helpers::RECIPE);
    let told = errors(&run(&["train", text(&path)]));
    assert!(
        told.contains("it is a folder, as videos are of frames"),
        "{told}"
    );
}
