//! What the tests of training share.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use image::{Rgb, RgbImage};
use serde_json::Value;

pub(crate) fn blip2() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    blip2().args(arguments).output().unwrap()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("demo")
}

/// A folder of pictures in eight colours with a question about each.
pub(crate) fn data(folder: &Path) {
    let names = [
        "red", "blue", "green", "yellow", "gray", "teal", "black", "brown",
    ];
    let mut lines = String::new();
    for (number, name) in names.iter().enumerate() {
        let level = |bit: usize| if number >> bit & 1 == 1 { 220 } else { 30 };
        let picture = RgbImage::from_pixel(64, 64, Rgb([level(0), level(1), level(2)]));
        let at = folder.join(format!("pictures/{number}"));
        fs::create_dir_all(&at).unwrap();
        picture.save(at.join("image.png")).unwrap();
        lines += &format!(
            "{{\"question\": \"what color is this?\", \"answer\": \"{name}\", \"pid\": {number}}}\n"
        );
    }
    fs::write(
        folder.join("train.jsonl"),
        lines + "{\"question\": \"?\"}\n",
    )
    .unwrap();
}

pub(crate) fn config(folder: &Path, out: &str, more: &str) -> PathBuf {
    let text = format!(
        r#"model = "{}"
out = "{out}"
[data]
kind = "json-lines"
file = "train.jsonl"
pictures = "pictures"
on_broken = "skip"
[validation]
score = "exact-match"
[validation.data]
kind = "json-lines"
file = "train.jsonl"
pictures = "pictures"
on_broken = "skip"
{more}"#,
        model().display()
    );
    let path = folder.join(format!("{out}.toml"));
    fs::write(&path, text).unwrap();
    path
}

pub(crate) const RECIPE: &str = "[train]
parts = [\"qformer\", \"query_tokens\", \"language_projection\"]
[recipe]
steps = 30
batch = 4
lr = 1e-3
warmup = 5
save_every = 3
evaluate_every = 10
ema = 0.8
[recipe.augmentation]
shift = 2
";

pub(crate) fn losses(folder: &Path) -> Vec<(u64, f64)> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let rows = text.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        (row["step"].as_u64().unwrap(), row["loss"].as_f64().unwrap())
    });
    rows.collect()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
