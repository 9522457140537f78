//! A picture that breaks while a model is evaluated, or someone who ends it, takes no answer along.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::helpers::{blip2, config, data, errors, run, text};

/// So many questions take longer than breaking a picture.
const QUESTIONS: usize = 240;

/// Many questions, of which the last alone is about the last picture; and a file that says so.
fn asked(folder: &Path, on_broken: &str) -> PathBuf {
    data(folder);
    let lines = (0..QUESTIONS).map(|number| {
        let pid = match number + 1 == QUESTIONS {
            true => 7,
            false => number % 7,
        };
        format!(
            "{{\"question\": \"what color is this?\", \"answers\": [\"red\", \"red\"], \"pid\": {pid}}}\n"
        )
    });
    fs::write(folder.join("train.jsonl"), lines.collect::<String>()).unwrap();
    let path = config(folder, "run", "");
    let file = fs::read_to_string(&path).unwrap();
    // By this score it says before the first question that two people are few.
    let file = file
        .replace("score = \"exact-match\"", "score = \"vqa\"\nbatch = 1")
        .replace("\"skip\"", &format!("\"{on_broken}\""));
    fs::write(&path, file).unwrap();
    path
}

/// An evaluation, from its first question on.
fn asking(path: &Path, arguments: &[&str]) -> (Child, PathBuf) {
    let log = path.with_extension("log");
    let child = blip2()
        .args(["eval", text(path)])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::from(fs::File::create(&log).unwrap()))
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !fs::read_to_string(&log).unwrap().contains("note  ") {
        assert!(started.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(2));
    }
    (child, log)
}

/// The beginning of the last picture, whose header is whole.
fn break_last(folder: &Path) {
    let picture = folder.join("pictures/7/image.png");
    let whole = fs::read(&picture).unwrap();
    fs::write(&picture, &whole[..60]).unwrap();
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn a_picture_that_breaks_is_left_out_of_an_evaluation_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = asked(folder.path(), "skip");
    let answers = folder.path().join("answers.jsonl");
    let (child, log) = asking(&path, &["--answers", text(&answers)]);
    break_last(folder.path());
    let output = child.wait_with_output().unwrap();
    let said = fs::read_to_string(log).unwrap();
    assert!(output.status.success(), "{said}");
    let last = format!("left out: {}", folder.path().join("train.jsonl").display());
    assert!(
        said.contains(&format!("{last}, line {QUESTIONS}: ")),
        "{said}"
    );
    assert!(said.contains("image.png"), "{said}");
    let scored = String::from_utf8(output.stdout).unwrap();
    let left = QUESTIONS - 1;
    assert!(scored.contains(&format!(" of {left} examples")), "{scored}");
    assert!(scored.contains("left out 1 record"), "{scored}");
    let records = records(&answers);
    assert_eq!(records.len(), QUESTIONS);
    assert!(records[..left].iter().all(|own| own["answer"].is_string()));
    let told = records[left]["left_out"].as_str().unwrap();
    assert!(told.contains(&format!("line {QUESTIONS}: ")), "{told}");
}

#[test]
fn what_was_answered_before_a_picture_broke_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = asked(folder.path(), "fail");
    for (name, part) in [
        ("answers.jsonl", "answers.partial.jsonl"),
        ("table.csv", "table.partial.csv"),
    ] {
        let answers = folder.path().join(name);
        let whole = fs::read(folder.path().join("pictures/7/image.png")).unwrap();
        let (mut child, log) = asking(&path, &["--answers", text(&answers)]);
        break_last(folder.path());
        assert_eq!(child.wait().unwrap().code(), Some(1));
        let said = fs::read_to_string(log).unwrap();
        for told in [
            &format!("train.jsonl, line {QUESTIONS}: "),
            "image.png",
            part,
            &format!("{} of {QUESTIONS}", QUESTIONS - 1),
        ] {
            assert!(said.contains(told), "{told}: {said}");
        }
        assert!(!answers.exists());
        let kept = fs::read_to_string(folder.path().join(part)).unwrap();
        let header = usize::from(name.ends_with("csv"));
        assert_eq!(kept.lines().count(), QUESTIONS - 1 + header);
        assert!(kept.contains("red"), "{kept}");
        fs::write(folder.path().join("pictures/7/image.png"), whole).unwrap();
    }
    // The name of a part is written to as little as that of the whole where something is read.
    let read = folder.path().join("own.partial.toml");
    fs::copy(&path, &read).unwrap();
    let own = folder.path().join("own.toml");
    let output = run(&["eval", text(&read), "--answers", text(&own)]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert!(!own.exists());
}

#[cfg(unix)]
#[test]
fn whoever_ends_an_evaluation_keeps_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = asked(folder.path(), "fail");
    let answers = folder.path().join("answers.jsonl");
    let (mut child, log) = asking(&path, &["--answers", text(&answers)]);
    thread::sleep(Duration::from_millis(300));
    let pid = child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let said = fs::read_to_string(log).unwrap();
    assert!(said.contains("the evaluation was interrupted"), "{said}");
    assert!(!answers.exists());
}
