//! What the tests of the pipeline share.

use std::path::{Path, PathBuf};

use blip2_core::Blip2Pipeline;
use image::{Rgb, RgbImage};

/// A folder under `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The pipeline of a fixture.
#[allow(dead_code)] // not every test answers
pub(crate) fn pipeline(name: &str) -> Blip2Pipeline {
    Blip2Pipeline::from_pretrained(fixture(name)).unwrap()
}

/// Pictures that differ.
#[allow(dead_code)] // not every test shows one
pub(crate) fn picture(seed: u32) -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| {
        let mix = (x / 5 * 31 + y / 6 * 17 + seed * 101).wrapping_mul(2_654_435_761);
        Rgb([(mix >> 8) as u8, (mix >> 16) as u8, (mix >> 24) as u8])
    })
}

/// A copy of a fixture's checkpoint, to be spoilt.
#[allow(dead_code)] // not every test spoils one
pub(crate) fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_files(&fixture(name), folder.path());
    folder
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let is_golden = entry.file_name().to_string_lossy().starts_with("golden");
        if !is_golden && entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
