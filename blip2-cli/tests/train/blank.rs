//! Answers that say nothing are none, and choices that a model cannot be given are found first.

use std::fs;

use serde_json::json;

use super::helpers::{config, data, errors, run, text};

const FEW: &str = "[train]
parts = [\"language_projection\"]
[recipe]
steps = 1
batch = 4
";

/// The lines of what was said that tell of examples which were left out for this.
fn left_out(said: &str, why: &str) -> usize {
    let lines = said.lines();
    let told = |line: &&str| line.starts_with("left out: ") && line.contains("train.jsonl");
    lines.filter(told).filter(|line| line.contains(why)).count()
}

#[test]
fn blank_answers_are_left_out_of_training_and_of_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let file = folder.path().join("train.jsonl");
    let mut lines = fs::read_to_string(&file).unwrap();
    for answer in [json!(""), json!(" \t"), json!(["", " "])] {
        let record = json!({ "question": "what color is this?", "answer": answer, "pid": 1 });
        lines += &format!("{record}\n");
    }
    // One that says something beside ones that do not is whole.
    let record = json!({ "question": "what color is this?", "answer": ["", "red"], "pid": 0 });
    lines += &format!("{record}\n");
    fs::write(&file, lines).unwrap();
    let path = config(folder.path(), "run", FEW);
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(left_out(&said, "has no answer to train on"), 3, "{said}");
    assert_eq!(left_out(&said, "has no right answer"), 3, "{said}");
    assert!(said.contains("data      9 examples"), "{said}");

    let output = run(&["eval", text(&path)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("of 9 examples"), "{said}");
    let strict = fs::read_to_string(&path).unwrap();
    let strict = strict.replace("on_broken = \"skip\"\n[train]", "[train]");
    fs::write(&path, strict).unwrap();
    let output = run(&["eval", text(&path)]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_choice_that_is_no_text_is_found_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let long = "very ".repeat(3000);
    let record = |choice: &str, pid: usize| {
        let choices = [choice, "red"];
        let own = json!({ "question": "which?", "answer": "red", "choices": choices, "pid": pid });
        format!("{own}\n")
    };
    let lines = [record("blue", 0), record(&long, 1), record("green", 2)];
    fs::write(folder.path().join("train.jsonl"), lines.concat()).unwrap();
    let path = config(folder.path(), "run", FEW);
    let file = fs::read_to_string(&path).unwrap();
    fs::write(&path, file.replace("exact-match", "multiple-choice")).unwrap();
    for command in ["train", "eval"] {
        let output = run(&[command, text(&path)]);
        let said = errors(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(left_out(&said, "line 2"), 1, "{said}");
        assert!(said.contains("its choice"), "{said}");
    }
}
