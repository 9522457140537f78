//! The program from end to end: what it prints where, and how it exits.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");

fn blip2(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .env_remove("BLIP2_MODEL")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A red picture with a shape of sorts.
fn picture(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    image::RgbImage::from_fn(64, 64, |x, y| {
        let inside = (20..44).contains(&x) && (16..48).contains(&y);
        image::Rgb(if inside { [255, 0, 0] } else { [240, 240, 240] })
    })
    .save(&path)
    .unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn the_demonstration_model_answers_and_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = blip2(&[
        "answer",
        &picture(folder.path(), "a.png"),
        "what color is the shape?",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "red\n",
        "the answer alone is on standard output"
    );
    assert!(
        stderr(&output).contains("demonstration model"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_empty_variable_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture(folder.path(), "a.png");
    let answered = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(["answer", &picture, "what color is the shape?"])
        .env("BLIP2_MODEL", "")
        .output()
        .unwrap();
    assert!(answered.status.success(), "{}", stderr(&answered));
    assert!(stderr(&answered).contains("demonstration model"));
    let matched = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(["match", &picture, "a circle"])
        .env("BLIP2_RETRIEVAL_MODEL", "")
        .output()
        .unwrap();
    assert_eq!(matched.status.code(), Some(2));
    assert!(stderr(&matched).contains("--model"), "{}", stderr(&matched));
}

/// It answers what it was trained for: colours and shapes of the example pictures, whose names say both.
/// Of one the triangle is ten pixels wide, and it takes it for a circle.
#[test]
fn the_demonstration_model_is_right_about_the_examples() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/images");
    // The examples are not part of the published package.
    let Ok(entries) = fs::read_dir(examples) else {
        return;
    };
    let pictures = entries.map(|entry| entry.unwrap().path());
    let pictures: Vec<_> = pictures
        .filter(|path| path.extension().is_some_and(|png| png == "png"))
        .collect();
    assert_eq!(pictures.len(), 10);
    for path in pictures {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (color, shape) = name.split_once('-').unwrap();
        let cross = if shape == "circle" {
            "rectangle"
        } else {
            "circle"
        };
        let mut questions = vec![("what color is the shape?".to_owned(), color)];
        if name != "yellow-triangle" {
            questions.extend([
                ("what shape is in the image?".to_owned(), shape),
                (format!("is there a {shape} in the image?"), "yes"),
                (format!("is there a {cross} in the image?"), "no"),
            ]);
        }
        for (question, answer) in questions {
            let output = blip2(&["answer", path.to_str().unwrap(), &question]);
            assert_eq!(stdout(&output).trim(), answer, "{name}: {question}");
        }
    }
}

#[test]
fn a_folder_a_prompt_beams_and_sampling_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture(folder.path(), "a.png");
    let question = "what color is the shape?";
    let prompt = format!("Question: {question} Answer:");
    let seeds = [
        "--sample",
        "--temperature",
        "0.1",
        "--top-k",
        "5",
        "--top-p",
        "0.9",
    ];
    for options in [
        vec![question],
        vec!["--prompt", &prompt],
        vec![question, "--template", "Question: {} Answer:"],
        vec![
            question,
            "--beams",
            "3",
            "--length-penalty",
            "-1",
            "--early-stopping",
            "never",
        ],
        [&[question][..], &seeds, &["--seed", "3"]].concat(),
        vec![question, "--precision", "bf16", "--max-new-tokens", "6"],
        vec![
            question,
            "--vision-precision",
            "f32",
            "--lm-precision",
            "bf16",
        ],
    ] {
        let arguments = [&["answer", &picture, "--model", DEMO], options.as_slice()].concat();
        let output = blip2(&arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "red\n", "{arguments:?}");
        assert!(
            !stderr(&output).contains("demonstration"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn json_holds_everything_about_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture(folder.path(), "a.png");
    let output = blip2(&["answer", &picture, "what color is the shape?", "--json"]);
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(answer["text"], "red");
    assert_eq!(answer["finish_reason"], "eos");
    let tokens = answer["tokens"].as_array().unwrap();
    assert_eq!(tokens[0]["text"].as_str().unwrap().trim(), "red");
    for token in tokens {
        assert!(token["id"].is_number() && token["log_prob"].as_f64().unwrap() <= 0.0);
    }
    assert!(answer["timings"]["vision"]["nanos"].is_number(), "{answer}");
}

#[test]
fn many_captions_are_json_lines_and_a_broken_picture_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png", "c.png"] {
        picture(folder.path(), name);
    }
    fs::write(folder.path().join("d.png"), "no picture").unwrap();
    fs::write(folder.path().join("notes.txt"), "no picture either").unwrap();

    let path = folder.path().to_str().unwrap();
    let output = blip2(&["caption", path, "--batch", "2"]);
    assert_eq!(output.status.code(), Some(1), "one picture failed");
    let lines: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line["caption"].is_string())
            .count(),
        3
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line["error"].is_string())
            .count(),
        1
    );
    assert!(stderr(&output).contains("1 of 4"), "{}", stderr(&output));

    let output = blip2(&["caption", &format!("{path}/[ab].png")]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 2);

    let output = blip2(&["caption", &format!("{path}/a.png")]);
    assert!(
        serde_json::from_str::<Value>(&stdout(&output)).is_err(),
        "one caption is plain text"
    );
}

#[test]
fn inspect_counts_parameters_and_finds_faults() {
    let output = blip2(&["inspect", DEMO]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("1,314,048 parameters"),
        "{}",
        stdout(&output)
    );
    let output = blip2(&["inspect", DEMO, "--json"]);
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found["language_model"], "opt");
    // A little more than four for each: matrices are held in whole panels of 32 outputs.
    let bytes = found["bytes_in_memory"]["f32"].as_u64().unwrap();
    assert!((4 * 1_314_048..4 * 1_330_000).contains(&bytes), "{bytes}");
    assert_eq!(found["missing"].as_array().unwrap().len(), 0);

    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(DEMO).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join("config.json");
    let config = fs::read_to_string(&path)
        .unwrap()
        .replace("\"ffn_dim\": 384", "\"ffn_dim\": 128");
    fs::write(&path, config).unwrap();
    let output = blip2(&["inspect", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("misshapen"), "{}", stdout(&output));
}

#[test]
fn failures_exit_with_1_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture(folder.path(), "a.png");
    let text = folder.path().join("text.png");
    fs::write(&text, "not a picture").unwrap();
    for (arguments, said) in [
        (vec!["answer", "no.png", "what?"], "no.png"),
        (
            vec!["answer", text.to_str().unwrap(), "what?"],
            "not a picture",
        ),
        (vec!["answer", &picture, "  "], "question is empty"),
        (
            vec!["answer", &picture, "what?", "--memory-limit", "0.001"],
            "1000000 bytes",
        ),
        (
            vec!["answer", &picture, "what?", "--model", "no/folder"],
            "no/folder",
        ),
        (vec!["caption", "nothing-*.png"], "nothing-*.png"),
        (vec!["verify", DEMO], "golden.json"),
        (vec!["inspect", "no/folder"], "no/folder"),
    ] {
        let output = blip2(&arguments);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stdout(&output).is_empty(),
            "{arguments:?}: {}",
            stdout(&output)
        );
    }
}

#[test]
fn command_lines_that_make_no_sense_exit_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture(folder.path(), "a.png");
    for arguments in [
        vec!["answer"],
        vec!["answer", &picture],
        vec!["answer", &picture, "what?", "--prompt", "both"],
        vec!["answer", &picture, "what?", "--beams", "0"],
        vec!["answer", &picture, "what?", "--temperature", "0.5"],
        vec![
            "answer",
            &picture,
            "what?",
            "--sample",
            "--temperature",
            "0",
        ],
        vec!["answer", &picture, "what?", "--sample", "--top-p", "1.5"],
        vec!["answer", &picture, "what?", "--template", "no place"],
        vec!["answer", &picture, "what?", "--device", "abacus"],
        vec!["answer", &picture, "what?", "--precision", "int3"],
        vec!["answer", &picture, "what?", "--lm-precision", "int3"],
        vec!["caption"],
        vec!["dance"],
    ] {
        let output = blip2(&arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(!stderr(&output).is_empty());
    }
}

#[test]
fn inspect_says_what_is_in_the_way() {
    let folder = blip2_testing::copy("blip2_opt");
    let path = folder.path().to_str().unwrap();
    assert!(blip2(&["inspect", path]).status.success());
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let output = blip2(&["inspect", path]);
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    assert!(said.contains("in the way: ") && said.contains("tokenizer.json"));
    assert!(!said.contains("run it with"), "{said}");
}

#[test]
fn pictures_of_another_size_are_asked_for_by_an_option() {
    let folder = blip2_testing::copy("blip2_opt");
    let file = folder.path().join("preprocessor_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["size"] = serde_json::json!({ "height": 64, "width": 64 });
    fs::write(file, config.to_string()).unwrap();
    let path = folder.path().to_str().unwrap();
    let picture = picture(folder.path(), "a.png");
    let ask = |options: &[&str]| {
        let ask = ["answer", "--model", path, &picture, "what is this?"];
        blip2(&[&ask[..], options].concat())
    };
    let refused = ask(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--image-size 64"));
    let options = [
        "--image-size",
        "64",
        "--no-mmap",
        "--resizing",
        "torchvision",
    ];
    let asked = ask(&options);
    assert!(asked.status.success(), "{}", stderr(&asked));
}
