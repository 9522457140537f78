//! `blip2 transcribe`: recordings in, texts out.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn model() -> String {
    blip2_testing::fixture("granite_speech")
        .display()
        .to_string()
}

fn sound(name: &str) -> String {
    format!("{}/{name}.wav", model())
}

fn transcribe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .arg("transcribe")
        .args(arguments)
        .env_remove("BLIP2_SPEECH_MODEL")
        .output()
        .unwrap()
}

#[track_caller]
fn fails(arguments: &[&str], code: i32, parts: &[&str]) -> String {
    let output = transcribe(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn said(arguments: &[&str]) -> String {
    fails(arguments, 0, &[])
}

/// The tokens that the reference writes after a prompt about the second of the fixture's sounds.
#[test]
fn a_recording_has_the_references_tokens() {
    let golden = fs::read(Path::new(&model()).join("golden.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let read = golden["input_ids_single"][0].as_array().unwrap().len();
    for (case, beams) in [("greedy", "1"), ("beam3", "3")] {
        let case = &golden["gen_single"][case];
        let tokens = case["kwargs"]["max_new_tokens"].to_string();
        let prompt = golden["prompts"][1].as_str().unwrap();
        let own = [
            &sound("noise_713ms"),
            "--prompt",
            prompt,
            "--model",
            &model(),
            "--json",
        ];
        let more = ["--max-new-tokens", &tokens, "--beams", beams];
        let line: Value = serde_json::from_str(&said(&[&own[..], &more].concat())).unwrap();
        assert_eq!(line["sound"], sound("noise_713ms"));
        let found = line["tokens"].as_array().unwrap();
        let found: Vec<&Value> = found.iter().map(|token| &token["id"]).collect();
        let expected = &case["sequences"][0].as_array().unwrap()[read..];
        assert!(found.len() > 3);
        assert!(
            found.iter().zip(expected).all(|(found, id)| *found == id),
            "{line}"
        );
    }
}

/// A line for each of several, also where one of them cannot be read.
#[test]
fn many_recordings_have_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.wav");
    fs::write(&broken, "fLaC\0\0\0\x22").unwrap();
    let broken = broken.display().to_string();
    let sounds = [&*sound("chirp_1300ms"), &broken, &sound("noise_713ms")];
    let model = model();
    let more = [
        "--model",
        &model,
        "--max-new-tokens",
        "4",
        "--question",
        "what is it?",
    ];
    let arguments = [&sounds[..], &more].concat();
    let told = [&*broken, "FLAC", "1 of 3 recordings have no text"];
    let lines = fails(&arguments, 1, &told);
    let names: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(names, [sounds[0], sounds[2]]);
    let lines = fails(&[&arguments[..], &["--json"]].concat(), 1, &told);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines[1]["error"].as_str().unwrap().contains("FLAC"));
    assert!(lines[2]["text"].is_string() && lines[2]["sound"] == sounds[2]);
}

#[test]
fn what_makes_no_sense_is_told_in_options() {
    let (model, sound) = (model(), sound("noise_713ms"));
    let of = |more: &[&'static str]| [&[&*sound, "--model", &*model][..], more].concat();
    fails(&of(&["--beams", "0"]), 2, &["--beams"]);
    fails(&of(&["--max-new-tokens", "0"]), 2, &["--max-new-tokens"]);
    fails(
        &of(&["--prompt", "what?"]),
        1,
        &["<|audio|>", "exactly once"],
    );
    fails(&of(&["--question", "  "]), 1, &["question"]);
    fails(&[&*sound], 2, &["--model"]);
    let other = blip2_testing::fixture("blip2_opt").display().to_string();
    fails(
        &[&*sound, "--model", &other],
        1,
        &["`blip2 answer` or `blip2 caption`"],
    );
    // And the other way.
    let picture = blip2_testing::workspace().join("examples/images/red-triangle.png");
    let answer = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .arg("answer")
        .arg(picture)
        .args(["what?", "--model", &model])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&answer.stderr);
    assert!(error.contains("`blip2 transcribe`"), "{error}");
}
