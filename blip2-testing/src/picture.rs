//! Pictures of a test's own.

use image::{Rgb, RgbImage};

/// Pictures that differ by their seed.
pub fn picture(seed: u32) -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| {
        let mix = (x / 5 * 31 + y / 6 * 17 + seed * 101).wrapping_mul(2_654_435_761);
        Rgb([(mix >> 8) as u8, (mix >> 16) as u8, (mix >> 24) as u8])
    })
}
