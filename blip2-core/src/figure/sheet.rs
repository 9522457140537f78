//! Contact sheets: pictures side by side with lines of text under each, such as what a search found or what a
//! model answered.

use image::{Rgb, RgbImage, imageops};

use super::letters::{LETTER, write};
use crate::photo_index::Hit;

/// The side of the square that a picture is fitted into, in pixels.
const SIDE: u32 = 192;
const MARGIN: u32 = 12;
const GAP: u32 = 4;
/// The most pictures side by side.
const COLUMNS: u32 = 5;
/// How many letters fit under a picture.
const LETTERS: usize = (SIDE / LETTER) as usize;

const PAPER: Rgb<u8> = Rgb([250, 250, 248]);
const FRAME: Rgb<u8> = Rgb([226, 226, 222]);
const INK: Rgb<u8> = Rgb([32, 32, 36]);
const FAINT: Rgb<u8> = Rgb([110, 110, 116]);

/// A line of text under a picture of a [`contact_sheet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    text: String,
    ink: Rgb<u8>,
}

impl Line {
    /// A line.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, ink: INK }
    }

    /// A line of less importance.
    pub fn faint(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, ink: FAINT }
    }

    /// A text in lines that fit under a picture, broken between words; no more than `most` of them.
    pub fn wrapped(text: &str, most: usize) -> Vec<Self> {
        wrapped(text, most).into_iter().map(Self::new).collect()
    }

    /// The same in less important ink.
    #[must_use]
    pub fn fainter(self) -> Self {
        Self { ink: FAINT, ..self }
    }
}

/// Draws pictures, which `open` gives by their place, with their lines of text. One that it cannot give is an
/// empty frame that says so.
///
/// ```
/// use blip2_core::figure::{Line, contact_sheet};
///
/// let names = ["red-triangle", "blue-circle"];
/// let captions = names.map(|name| vec![Line::new(name)]);
/// let sheet = contact_sheet(&captions, |place| {
///     blip2_core::open_image(format!("../examples/images/{}.png", names[place])).ok()
/// });
/// assert!(sheet.width() > 2 * 192);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn contact_sheet(captions: &[Vec<Line>], open: impl Fn(usize) -> Option<RgbImage>) -> RgbImage {
    let count = captions.len() as u32;
    let columns = count.clamp(1, COLUMNS);
    let rows = count.div_ceil(columns).max(1);
    let lines = captions.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let caption = lines * (LETTER + GAP) + GAP;
    let (across, down) = (SIDE + MARGIN, SIDE + caption + MARGIN);
    let mut sheet = RgbImage::from_pixel(columns * across + MARGIN, rows * down + MARGIN, PAPER);
    for (n, own) in captions.iter().enumerate() {
        let x = MARGIN + n as u32 % columns * across;
        let y = MARGIN + n as u32 / columns * down;
        let frame = RgbImage::from_pixel(SIDE, SIDE, FRAME);
        imageops::replace(&mut sheet, &frame, x.into(), y.into());
        match open(n) {
            Some(picture) => place(&mut sheet, &picture, x, y),
            None => write(&mut sheet, "not found", x + GAP, y + GAP, FAINT),
        }
        for (line, own) in (0..).zip(own) {
            let text: String = own.text.chars().take(LETTERS).collect();
            let y = y + SIDE + GAP + line * (LETTER + GAP);
            write(&mut sheet, &text, x, y, own.ink);
        }
    }
    sheet
}

/// Draws what a search found, in its order, with rank, score and file name. `open` gives a picture by its
/// name.
pub fn hits_sheet(hits: &[Hit], open: impl Fn(&str) -> Option<RgbImage>) -> RgbImage {
    let captions = hits.iter().zip(1..).map(|(hit, rank)| {
        let first = format!("{rank}  {}", score(hit));
        vec![Line::new(first), Line::faint(shortened(&hit.name))]
    });
    let captions: Vec<Vec<Line>> = captions.collect();
    contact_sheet(&captions, |n| open(&hits.get(n)?.name))
}

/// A text in lines that fit under a picture, broken between words; no more than `most` of them.
fn wrapped(text: &str, most: usize) -> Vec<String> {
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
}
