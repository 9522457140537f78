//! Lines of text in pictures.

use font8x8::{BASIC_FONTS, GREEK_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};

/// The width and height of a letter, in pixels.
pub(crate) const LETTER: u32 = 8;

/// Draws a line of text; a letter that the font lacks is a question mark, and what reaches beyond the
/// picture is left out.
pub(crate) fn write(image: &mut RgbImage, text: &str, x: u32, y: u32, ink: Rgb<u8>) {
    for (n, letter) in (0..).zip(text.chars()) {
        let glyph = BASIC_FONTS
            .get(letter)
            .or_else(|| LATIN_FONTS.get(letter))
            .or_else(|| GREEK_FONTS.get(letter))
            .or_else(|| BASIC_FONTS.get('?'))
            .unwrap_or_default();
        for (row, bits) in (0..).zip(glyph) {
            for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                if let Some(pixel) = image.get_pixel_mut_checked(x + n * LETTER + column, y + row) {
                    *pixel = ink;
                }
            }
        }
    }
}

/// A text that takes no more than `width` pixels.
#[cfg(feature = "explain")]
pub(crate) fn cut(text: &str, width: u32) -> String {
    let most = (width / LETTER) as usize;
    let text = text.replace(['\r', '\n'], " ");
    match text.chars().count() <= most {
        true => text,
        false => text
            .chars()
            .take(most.saturating_sub(2))
            .chain("..".chars())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "explain")]
    fn long_texts_are_cut() {
        assert_eq!(cut("a red\ntriangle", 200), "a red triangle");
        assert_eq!(cut("a red triangle", 64), "a red ..");
    }

    #[test]
    fn letters_beyond_the_edge_are_left_out() {
        let mut image = RgbImage::new(20, 9);
        write(&mut image, "IIIé語", 0, 4, Rgb([255; 3]));
        let lit = image.pixels().filter(|pixel| pixel.0 == [255; 3]);
        assert!(lit.count() > 10);
    }
}
