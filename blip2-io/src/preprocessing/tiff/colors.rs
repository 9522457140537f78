//! TIFF's colours to RGB, in the integers of Pillow and `libtiff`.

use image::{DynamicImage, ImageBuffer};
use tiff::decoder::DecodingResult;

use super::packed::unpacked;
use crate::preprocessing::color::{Transparency, to_rgb};

/// Gray levels clipped to 0 to 255 and without fractions, as Pillow converts them; `None` of numbers in
/// which no TIFF has gray levels.
pub(super) fn gray(levels: DecodingResult) -> Option<Vec<u8>> {
    // A cast to a byte clips at both ends, drops the fraction, and takes what is no number for 0.
    let levels: Vec<u8> = match levels {
        DecodingResult::F32(levels) => levels.into_iter().map(|level| level as u8).collect(),
        DecodingResult::F64(levels) => levels.into_iter().map(|level| level as u8).collect(),
        DecodingResult::U32(levels) => levels
            .into_iter()
            .map(|level| level.min(255) as u8)
            .collect(),
        DecodingResult::I32(levels) => levels
            .into_iter()
            .map(|level| level.clamp(0, 255) as u8)
            .collect(),
        _ => return None,
    };
    Some(levels.into_iter().flat_map(|level| [level; 3]).collect())
}

/// Gray levels of fewer bits than a byte, of which the highest is white.
pub(super) fn few_grays(packed: &[u8], bits: u8, width: usize) -> Vec<u8> {
    let step = u8::MAX / (u8::MAX >> (8 - bits));
    unpacked(packed, bits, width)
        .flat_map(|level| [level * step; 3])
        .collect()
}

/// Pairs of a gray level and how opaque it is; `None` of numbers in which no TIFF has them.
pub(super) fn gray_and_alpha(
    levels: DecodingResult,
    transparency: Transparency,
) -> Option<Vec<u8>> {
    // As one row: what is beside a pixel does not matter to it.
    let width = |levels: usize| u32::try_from(levels / 2).ok();
    let picture = match levels {
        DecodingResult::U8(levels) => {
            let row = ImageBuffer::from_raw(width(levels.len())?, 1, levels);
            DynamicImage::ImageLumaA8(row?)
        }
        DecodingResult::U16(levels) => {
            let row = ImageBuffer::from_raw(width(levels.len())?, 1, levels);
            DynamicImage::ImageLumaA16(row?)
        }
        _ => return None,
    };
    Some(to_rgb(&picture, transparency).into_raw())
}

/// Inks to light, as Pillow's `convert("RGB")` does: each ink darkens what black leaves.
pub(super) fn cmyk(inks: &[u8]) -> Vec<u8> {
    let (pixels, _) = inks.as_chunks::<4>();
    let light = |&[c, m, y, k]: &[u8; 4]| {
        let left = 255 - k;
        [c, m, y].map(|ink| left - divided_by_255(u32::from(ink) * u32::from(left)))
    };
    pixels.iter().flat_map(light).collect()
}

/// A product of two bytes over 255, rounded by shifts as Pillow's `MULDIV255` does.
fn divided_by_255(product: u32) -> u8 {
    let rounded = product + 128;
    (((rounded >> 8) + rounded) >> 8) as u8
}

/// How luma and two differences of colour become red, green and blue (TIFF 6.0, section 21), in the
/// integers of `libtiff`, whose defaults are those of `libjpeg`.
#[derive(Debug, Clone)]
pub(super) struct YCbCr {
    red_of_cr: i64,
    green_of_cr: i64,
    green_of_cb: i64,
    blue_of_cb: i64,
    luma: Vec<i64>,
    cb: Vec<i64>,
    cr: Vec<i64>,
}

impl YCbCr {
    /// What luma is made of in JPEG, and without a word in a TIFF.
    pub(super) const PARTS: [f32; 3] = [0.299, 0.587, 0.114];
    /// Codes that use the whole byte.
    pub(super) const REFERENCE: [f32; 6] = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];

    /// The parts of red, green and blue in luma; and what stands for black and white in luma, for none
    /// and all in the differences.
    pub(super) fn new(parts: [f32; 3], reference: [f32; 6]) -> Self {
        let [red, green, blue] = parts;
        let [y0, y1, cb0, cb1, cr0, cr1] = reference;
        let fixed = |factor: f32| (factor.clamp(0.0, 2.0) * 65_536.0 + 0.5) as i64;
        let code = |offset: i32, black: f32, white: f32, range: f32| {
            let width = if white == black { 1.0 } else { white - black };
            let value = move |code: i32| ((code - offset) as f32 - black.trunc()) * range / width;
            (0..256)
                .map(value)
                .map(|value| value as i16 as i64)
                .collect()
        };
        let (of_red, of_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        Self {
            red_of_cr: fixed(of_red),
            green_of_cr: fixed(of_red * red / green),
            green_of_cb: fixed(of_blue * blue / green),
            blue_of_cb: fixed(of_blue),
            luma: code(0, y0, y1, 255.0),
            cb: code(128, cb0 - 128.0, cb1 - 128.0, 127.0),
            cr: code(128, cr0 - 128.0, cr1 - 128.0, 127.0),
        }
    }

    /// Colours of three bytes each.
    pub(super) fn to_rgb(&self, levels: &[u8]) -> Vec<u8> {
        const HALF: i64 = 1 << 15;
        let of = |table: &[i64], code: u8| table.get(usize::from(code)).copied().unwrap_or(0);
        let color = |&[y, cb, cr]: &[u8; 3]| {
            let (y, cb, cr) = (of(&self.luma, y), of(&self.cb, cb), of(&self.cr, cr));
            let green = HALF - self.green_of_cb * cb - self.green_of_cr * cr;
            [
                y + ((self.red_of_cr * cr + HALF) >> 16),
                y + (green >> 16),
                y + ((self.blue_of_cb * cb + HALF) >> 16),
            ]
            .map(|level| level.clamp(0, 255) as u8)
        };
        let (pixels, _) = levels.as_chunks::<3>();
        pixels.iter().flat_map(color).collect()
    }
}

impl Default for YCbCr {
    /// JPEG's.
    fn default() -> Self {
        Self::new(Self::PARTS, Self::REFERENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Pillow: `Image.frombytes("CMYK", (1, 1), …).convert("RGB")`.
    #[test]
    fn inks_darken_what_black_leaves() {
        assert_eq!(cmyk(&[0, 0, 0, 0]), [255; 3]);
        assert_eq!(cmyk(&[9, 9, 9, 255]), [0; 3]);
        assert_eq!(cmyk(&[10, 100, 200, 40]), [207, 131, 46]);
    }

    /// Of Pillow, through `libtiff`.
    #[test]
    fn differences_of_colour_become_colours() {
        let colors = YCbCr::default();
        for gray in [0, 7, 255] {
            assert_eq!(colors.to_rgb(&[gray, 128, 128]), [gray; 3]);
        }
        assert_eq!(colors.to_rgb(&[90, 120, 30]), [0, 163, 76]);
        assert_eq!(colors.to_rgb(&[200, 30, 240]), [255, 154, 26]);
        // Levels of film, of which 16 is black and 235 white, and the parts of high definition.
        let film = [16.0, 235.0, 128.0, 240.0, 128.0, 240.0];
        let colors = YCbCr::new([0.2126, 0.7152, 0.0722], film);
        let levels = [90, 120, 30, 200, 30, 240, 235, 128, 128];
        let expected = [0, 140, 69, 255, 175, 8, 255, 255, 255];
        assert_eq!(colors.to_rgb(&levels), expected);
    }

    #[test]
    fn parts_that_are_no_colours_are_computed_all_the_same() {
        for part in [0.0, f32::NAN, f32::INFINITY, -1e30] {
            let colors = YCbCr::new([part; 3], [part; 6]);
            assert_eq!(colors.to_rgb(&[1, 255, 0]).len(), 3);
        }
    }
}
