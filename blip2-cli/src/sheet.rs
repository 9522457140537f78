//! What a search found, drawn on one sheet: the pictures with rank, score and file name.

use blip2_core::photo_index::Hit;
use font8x8::{BASIC_FONTS, GREEK_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage, imageops};

/// The side of the square that a picture is fitted into, in pixels.
const SIDE: u32 = 192;
const MARGIN: u32 = 12;
/// Two lines of text and what is between them.
const CAPTION: u32 = 2 * GLYPH + 3 * GAP;
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

/// Draws hits in their order. `open` gives a picture by its name; one that it cannot give is an
/// empty frame that says so.
pub(crate) fn draw(hits: &[Hit], open: impl Fn(&str) -> Option<RgbImage>) -> RgbImage {
    let count = hits.len() as u32;
    let columns = count.clamp(1, COLUMNS);
    let rows = count.div_ceil(columns).max(1);
    let (across, down) = (SIDE + MARGIN, SIDE + CAPTION + MARGIN);
    let mut sheet = RgbImage::from_pixel(columns * across + MARGIN, rows * down + MARGIN, PAPER);
    for (n, hit) in (0..).zip(hits) {
        let x = MARGIN + n % columns * across;
        let y = MARGIN + n / columns * down;
        let frame = RgbImage::from_pixel(SIDE, SIDE, FRAME);
        imageops::replace(&mut sheet, &frame, x.into(), y.into());
        match open(&hit.name) {
            Some(picture) => place(&mut sheet, &picture, x, y),
            None => text(&mut sheet, "not found", x + GAP, y + GAP, FAINT),
        }
        let rank = format!("{}  {}", n + 1, score(hit));
        text(&mut sheet, &rank, x, y + SIDE + GAP, INK);
        let below = y + SIDE + GAP + GLYPH + GAP;
        text(&mut sheet, &shortened(&hit.name), x, below, FAINT);
    }
    sheet
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
