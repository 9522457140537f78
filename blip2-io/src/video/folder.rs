//! Folders of frames.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
};

use image::{ImageFormat, RgbImage};

use super::{VideoError, VideoOptions, chosen};
use crate::preprocessing::{decode_file, is_apple_double};

/// `count` of the pictures in a folder, evenly chosen.
pub(super) fn open(
    folder: &Path,
    count: usize,
    options: &VideoOptions,
) -> Result<Vec<RgbImage>, VideoError> {
    let mut frames: Vec<(String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).map_err(VideoError::Read)? {
        let path = entry.map_err(VideoError::Read)?.path();
        let is_picture = ImageFormat::from_path(&path).is_ok_and(|format| format.reading_enabled());
        let is_picture = is_picture && path.is_file() && !is_apple_double(&path);
        if let (true, Some(name)) = (is_picture, path.file_name()) {
            frames.push((name.to_string_lossy().into_owned(), path));
        }
        options.check_count(frames.len())?;
    }
    if frames.is_empty() {
        return Err(VideoError::NoPictures);
    }
    frames.sort_by(|(a, _), (b, _)| by_number(a, b).then_with(|| a.cmp(b)));
    chosen(frames.len(), count)?
        .map(|n| Ok(decode_file(&frames[n].1, &options.decode)?))
        .collect()
}

/// Compares names with the numbers in them as numbers: `frame9` is before `frame10`.
fn by_number(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (x, y) = (digits(a), digits(b));
        if x > 0 && y > 0 {
            let (p, q) = (
                a[..x].trim_start_matches('0'),
                b[..y].trim_start_matches('0'),
            );
            let order = p.len().cmp(&q.len()).then_with(|| p.cmp(q));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[x..], &b[y..]);
            continue;
        }
        let (mut rest_a, mut rest_b) = (a.chars(), b.chars());
        match (rest_a.next(), rest_b.next()) {
            (Some(p), Some(q)) if p == q => (a, b) = (rest_a.as_str(), rest_b.as_str()),
            (p, q) => return p.cmp(&q),
        }
    }
}

/// How many digits a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        let mut names = [
            "f10.png",
            "f9.png",
            "f1.png",
            "f010b.png",
            "e2.png",
            "f.png",
            "é1.png",
        ];
        names.sort_by(|a, b| by_number(a, b));
        let sorted = [
            "e2.png",
            "f.png",
            "f1.png",
            "f9.png",
            "f10.png",
            "f010b.png",
            "é1.png",
        ];
        assert_eq!(names, sorted);
        assert_eq!(by_number("007", "7"), Ordering::Equal);
    }
}
