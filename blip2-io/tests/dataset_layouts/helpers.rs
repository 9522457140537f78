//! Small files beside pictures, and what is read of them.

use std::{fs, path::Path};

use blip2_io::dataset::{Dataset, DatasetError, Example, OnBroken};
use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// A folder with pictures of these names.
pub(crate) fn folder(pictures: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in pictures {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(4, 4, Rgb([1, 2, 3]))
            .save(path)
            .unwrap();
    }
    folder
}

/// What is read of a file with this text beside its pictures.
pub(crate) fn read(
    folder: &TempDir,
    name: &str,
    text: impl AsRef<[u8]>,
    reader: impl FnOnce(&Path, &Path) -> Result<Dataset, DatasetError>,
) -> Result<Dataset, DatasetError> {
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    reader(&file, folder.path())
}

/// Each example on a line: its id, its question, its answers.
pub(crate) fn shown(data: &Dataset) -> Vec<String> {
    let line = |example: &Example| {
        let question = example.question.as_deref().unwrap_or("-");
        format!("{} {question} {}", example.id, example.answers.join("|"))
    };
    data.examples().iter().map(line).collect()
}

/// What was left out.
pub(crate) fn left_out(data: &Dataset) -> String {
    let said: Vec<String> = data.broken().iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    for word in [
        "untagged",
        "invalid type",
        "expected",
        "missing field",
        "variant",
    ] {
        assert!(!said.contains(word), "{said}");
    }
    said
}

pub(crate) const SKIP: OnBroken = OnBroken::Skip;
