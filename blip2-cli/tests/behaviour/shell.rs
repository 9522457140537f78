//! What the program tells shells and `man` of itself.

use std::{fs, process::Command};

fn told(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_shell_has_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = told(&["completions", shell]);
        for word in ["caption", "num-return-sequences", "retry"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(["completions", "abacus"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn each_command_has_a_page() {
    assert!(told(&["man"]).contains(".TH blip2 1"));
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    told(&["man", "--output", pages.to_str().unwrap()]);
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("blip2-caption.1").contains("recursive"));
    assert!(page("blip2-index-add.1").contains("batch"));
    assert!(page("blip2.1").contains("SUBCOMMANDS"));
    for entry in fs::read_dir(&pages).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(name.to_str().unwrap().ends_with(".1"), "{name:?}");
    }
}
