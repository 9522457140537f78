//! Where an evaluation writes: through links, into pipes and devices, and onto nothing that it reads.

#![cfg(unix)]

use std::{fs, os::unix::fs::symlink, process::Command, thread};

use super::helpers::{config, data, errors, run, text};

#[test]
fn answers_go_through_links_and_into_pipes_and_onto_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(folder.path(), "run", "");
    let at = |name: &str| folder.path().join(name);

    fs::create_dir(at("far")).unwrap();
    symlink("far/answers.jsonl", at("link.jsonl")).unwrap();
    let output = run(&["eval", text(&path), "--answers", text(&at("link.jsonl"))]);
    assert!(output.status.success(), "{}", errors(&output));
    let whole = fs::read_to_string(at("far/answers.jsonl")).unwrap();
    assert_eq!(whole.lines().count(), 8);
    assert!(fs::symlink_metadata(at("link.jsonl")).unwrap().is_symlink());

    let made = Command::new("mkfifo").arg(at("pipe")).status();
    assert!(made.unwrap().success());
    let pipe = at("pipe");
    let reader = thread::spawn(move || fs::read_to_string(pipe).unwrap());
    let output = run(&["eval", text(&path), "--answers", text(&at("pipe"))]);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(reader.join().unwrap(), whole);
    let kind = fs::symlink_metadata(at("pipe")).unwrap().file_type();
    assert!(!kind.is_file());
    let output = run(&["eval", text(&path), "--answers", "/dev/stdout"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&whole), "{said}: {}", errors(&output));

    let picture = at("pictures/3/image.png");
    let before = fs::read(&picture).unwrap();
    symlink(&picture, at("sheet.png")).unwrap();
    for sheet in [&picture, &at("sheet.png")] {
        let output = run(&["eval", text(&path), "--sheet", text(sheet)]);
        assert!(!output.status.success());
        let said = errors(&output);
        assert!(said.contains("would be written over"), "{said}");
    }
    assert!(fs::read(&picture).unwrap() == before);
}
