//! Standard output and standard error that are closed, full, or a terminal that a file would like to
//! give orders to.

use std::{
    fs::File,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use blip2_testing::fixture;

fn blip2(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command.args(arguments).env_remove("BLIP2_MODEL");
    command
}

const PICTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/images/red-triangle.png"
);

/// Commands that print much, little, and nothing until the end.
fn commands() -> [Vec<String>; 5] {
    let model = fixture("blip2_opt");
    let model = model.to_str().unwrap();
    [
        vec!["inspect", model],
        vec!["inspect", model, "--json"],
        vec!["answer", PICTURE, "what color is the shape?"],
        vec!["caption", PICTURE, PICTURE],
        vec!["verify", model],
    ]
    .map(|words| words.into_iter().map(str::to_string).collect())
}

#[test]
fn who_reads_no_longer_is_left_in_peace() {
    for arguments in commands() {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut process = blip2(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stdout.take());
        let output = process.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[test]
fn a_full_disk_is_told() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    for arguments in commands() {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let output = blip2(&arguments).stdout(full()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains("standard output: "), "{error}");
        // Where not even that can be told, it ends all the same.
        let output = blip2(&arguments).stdout(full()).stderr(full()).output();
        assert_eq!(output.unwrap().status.code(), Some(1));
    }
}

#[test]
fn a_file_gives_the_terminal_no_orders() {
    let mut process = blip2(&["answer", "none\u{1b}[2Jsuch.png", "what?"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut error = String::new();
    process
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(1));
    assert!(error.contains(r"none\u001b[2Jsuch.png"), "{error}");
    assert!(!error.contains('\u{1b}'), "{error:?}");
}
