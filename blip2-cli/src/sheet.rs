//! Pictures on one sheet, with lines of text under each: what a search found, what a model answered.

use std::{io::Cursor, path::Path};

use blip2_core::photo_index::Hit;
use blip2_io::write_file;
use font8x8::{BASIC_FONTS, GREEK_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{ImageFormat, Rgb, RgbImage, imageops};

use crate::Failure;

/// The side of the square that a picture is fitted into, in pixels.
const SIDE: u32 = 192;
const MARGIN: u32 = 12;
const GLYPH: u32 = 8;
const GAP: u32 = 4;
/// The most pictures side by side.
const COLUMNS: u32 = 5;
/// How many letters fit under a picture.
const LETTERS: usize = (SIDE / GLYPH) as usize;

const PAPER: Rgb<u8> = Rgb([250, 250, 248]);
const FRAME: Rgb<u8> = Rgb([226, 226, 222]);
const INK: Rgb<u8> = Rgb([32, 32, 36]);
const FAINT: Rgb<u8> = Rgb([110, 110, 116]);

/// A picture's lines of text: whether each is of the first importance, and what it says.
type Lines = Vec<(bool, String)>;

/// Draws hits in their order, with rank, score and file name. `open` gives a picture by its name; one that
/// it cannot give is an empty frame that says so.
pub(crate) fn draw(hits: &[Hit], open: impl Fn(&str) -> Option<RgbImage>) -> RgbImage {
    let texts = hits.iter().zip(1..).map(|(hit, rank)| {
        let first = format!("{rank}  {}", score(hit));
        vec![(true, first), (false, shortened(&hit.name))]
    });
    let texts: Vec<Lines> = texts.collect();
    draw_all(&texts, |n| open(&hits[n].name))
}

/// Draws pictures, which `open` gives by their place, with their lines of text.
pub(crate) fn draw_all(texts: &[Lines], open: impl Fn(usize) -> Option<RgbImage>) -> RgbImage {
    let count = texts.len() as u32;
    let columns = count.clamp(1, COLUMNS);
    let rows = count.div_ceil(columns).max(1);
    let lines = texts.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let caption = lines * (GLYPH + GAP) + GAP;
    let (across, down) = (SIDE + MARGIN, SIDE + caption + MARGIN);
    let mut sheet = RgbImage::from_pixel(columns * across + MARGIN, rows * down + MARGIN, PAPER);
    for (n, own) in texts.iter().enumerate() {
        let x = MARGIN + n as u32 % columns * across;
        let y = MARGIN + n as u32 / columns * down;
        let frame = RgbImage::from_pixel(SIDE, SIDE, FRAME);
        imageops::replace(&mut sheet, &frame, x.into(), y.into());
        match open(n) {
            Some(picture) => place(&mut sheet, &picture, x, y),
            None => text(&mut sheet, "not found", x + GAP, y + GAP, FAINT),
        }
        for (line, (is_first, own)) in (0..).zip(own) {
            let ink = if *is_first { INK } else { FAINT };
            let y = y + SIDE + GAP + line * (GLYPH + GAP);
            text(&mut sheet, own, x, y, ink);
        }
    }
    sheet
}

/// Writes a sheet as a PNG.
pub(crate) fn save(sheet: &RgbImage, path: &Path) -> Result<(), Failure> {
    let mut png = Vec::new();
    let drawn = sheet.write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
    let failed = |error: &dyn std::fmt::Display| {
        let text = format!("{}: {error}", path.display());
        Failure::Work(text)
    };
    drawn.map_err(|error| failed(&error))?;
    write_file(path, png).map_err(|error| failed(&error))
}

/// A text in lines that fit under a picture, broken between words; no more than `most` of them.
pub(crate) fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LETTERS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            let kept: String = last.chars().take(LETTERS - 2).collect();
            *last = kept + "..";
        }
    }
    lines
}

fn score(hit: &Hit) -> String {
    match hit.probability {
        Some(probability) => format!("{:+.3} ({:.0} %)", hit.score, 100.0 * probability),
        None => format!("{:+.3}", hit.score),
    }
}

/// Fits a picture into its frame, in the middle and without distorting it.
fn place(sheet: &mut RgbImage, picture: &RgbImage, x: u32, y: u32) {
    let (width, height) = picture.dimensions();
    let longest = width.max(height).max(1);
    let fitted = |side: u32| {
        let side = u64::from(side) * u64::from(SIDE) / u64::from(longest);
        (side as u32).clamp(1, SIDE)
    };
    let (width, height) = (fitted(width), fitted(height));
    let small = imageops::thumbnail(picture, width, height);
    let (x, y) = (x + (SIDE - width) / 2, y + (SIDE - height) / 2);
    imageops::replace(sheet, &small, x.into(), y.into());
}

/// A file's name without its folder; one that is too long keeps its beginning and its end.
fn shortened(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LETTERS {
        return name.to_string();
    }
    let end = LETTERS / 2;
    let begin = LETTERS - end - 2;
    let (first, last) = (&letters[..begin], &letters[letters.len() - end..]);
    first.iter().chain(&['.', '.']).chain(last).collect()
}

/// Draws a line of text; a letter that the font lacks is a question mark.
fn text(sheet: &mut RgbImage, text: &str, x: u32, y: u32, ink: Rgb<u8>) {
    for (n, letter) in (0..).zip(text.chars().take(LETTERS)) {
        let glyph = BASIC_FONTS
            .get(letter)
            .or_else(|| LATIN_FONTS.get(letter))
            .or_else(|| GREEK_FONTS.get(letter))
            .or_else(|| BASIC_FONTS.get('?'))
            .unwrap_or_default();
        for (row, bits) in (0..).zip(glyph) {
            for column in (0..GLYPH).filter(|column| bits >> column & 1 == 1) {
                let place = (x + n * GLYPH + column, y + row);
                if let Some(pixel) = sheet.get_pixel_mut_checked(place.0, place.1) {
                    *pixel = ink;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends_and_lose_their_folder() {
        assert_eq!(shortened("a/b/red.png"), "red.png");
        let long = shortened("photos/a-very-long-name-of-a-picture-0042.jpeg");
        assert_eq!(long.chars().count(), LETTERS);
        assert!(
            long.starts_with("a-very-lon..") && long.ends_with("0042.jpeg"),
            "{long}"
        );
        assert_eq!(shortened(&"é".repeat(40)).chars().count(), LETTERS);
    }

    #[test]
    fn pictures_keep_their_shape_and_stay_in_their_frame() {
        for (width, height) in [(400, 100), (1, 900), (3, 3), (900, 1)] {
            let mut sheet = RgbImage::from_pixel(2 * SIDE, 2 * SIDE, PAPER);
            let red = RgbImage::from_pixel(width, height, Rgb([255, 0, 0]));
            place(&mut sheet, &red, 7, 9);
            let red = |x: u32, y: u32| sheet.get_pixel(x, y).0 == [255, 0, 0];
            let drawn = |x, y| (7..7 + SIDE).contains(&x) && (9..9 + SIDE).contains(&y);
            for (x, y, _) in sheet.enumerate_pixels() {
                assert!(!red(x, y) || drawn(x, y), "{x} {y}");
            }
            let middle = (SIDE - 1) / 2;
            assert!(red(7 + middle, 9 + middle), "{width} {height}");
        }
    }

    #[test]
    fn texts_are_broken_between_words_and_cut_in_the_end() {
        assert_eq!(wrapped("a red bus", 3), ["a red bus"]);
        let long = wrapped(&"word ".repeat(30), 2);
        assert_eq!(long.len(), 2);
        assert!(long.iter().all(|line| line.chars().count() <= LETTERS));
        assert!(long[1].ends_with(".."), "{long:?}");
        assert!(wrapped("", 3).is_empty());
    }

    #[test]
    fn text_is_drawn_where_it_belongs() {
        let mut sheet = RgbImage::from_pixel(40, 20, PAPER);
        text(&mut sheet, "I語", 8, 4, INK);
        let dark = |x: std::ops::Range<u32>| {
            let pixels = sheet.enumerate_pixels();
            pixels
                .filter(|(at, _, p)| **p == INK && x.contains(at))
                .count()
        };
        assert_eq!(dark(0..8) + dark(24..40), 0);
        assert!(dark(8..16) > 8 && dark(16..24) > 8);
    }
}
