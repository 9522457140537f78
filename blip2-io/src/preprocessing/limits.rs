//! How large a picture may be.

use super::error::ImageError;

/// How large a picture may be. All are checked against the header, before any pixel is decoded, so
/// that a small file cannot claim a large part of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// The most bytes of a file. Default 256 MiB.
    pub max_file_bytes: u64,
    /// The most pixels in a row. Default 65,535, which is JPEG's own limit.
    pub max_width: u32,
    /// The most rows. Default 65,535.
    pub max_height: u32,
    /// The most pixels. Default 179 million, Pillow's threshold for refusing a picture.
    pub max_pixels: u64,
    /// The most bytes that decoding may allocate. Default 2 GiB.
    pub max_alloc: u64,
    /// The most pixels for each byte of the file, of a picture of more than 8 million: what a few bytes
    /// claim beyond that is no picture of anything. Default 10,000, which a blank PNG does not reach.
    pub max_pixels_per_byte: u64,
}

/// Of so many pixels a picture may be in a file of any length.
const FREE_PIXELS: u64 = 8 << 20;

setters! { ImageLimits {
    with_max_file_bytes(max_file_bytes: u64),
    with_max_width(max_width: u32),
    with_max_height(max_height: u32),
    with_max_pixels(max_pixels: u64),
    with_max_alloc(max_alloc: u64),
    with_max_pixels_per_byte(max_pixels_per_byte: u64),
} }

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_file_bytes: 256 << 20,
            max_width: 65_535,
            max_height: 65_535,
            max_pixels: 178_956_970,
            max_alloc: 2 << 30,
            max_pixels_per_byte: 10_000,
        }
    }
}

impl ImageLimits {
    /// Checks the size that a file of `bytes` bytes states.
    pub(crate) fn check_size(
        &self,
        width: u32,
        height: u32,
        bytes: usize,
    ) -> Result<(), ImageError> {
        let pixels = u64::from(width) * u64::from(height);
        let (width, height) = (u64::from(width), u64::from(height));
        within("width", width, self.max_width.into(), "max_width")?;
        within("height", height, self.max_height.into(), "max_height")?;
        within("number of pixels", pixels, self.max_pixels, "max_pixels")?;
        if pixels <= FREE_PIXELS {
            return Ok(());
        }
        let per_byte = pixels / (bytes as u64).max(1);
        let (limit, option) = (self.max_pixels_per_byte, "max_pixels_per_byte");
        within("number of pixels for each byte", per_byte, limit, option)
    }

    /// Checks what all levels of a picture take.
    pub(crate) fn check_alloc(&self, needed: u64) -> Result<(), ImageError> {
        within("decoded size in bytes", needed, self.max_alloc, "max_alloc")
    }

    /// Of the bytes that decoding may allocate, those that a picture of `pixels` bytes has a use for:
    /// what a small picture's file claims beyond that is a bomb, or a mistake.
    pub(crate) fn budget(&self, pixels: u64) -> u64 {
        const SPARE: u64 = 64 << 20;
        let used = pixels.saturating_mul(4).saturating_add(SPARE);
        used.min(self.max_alloc)
    }
}

fn within(
    what: &'static str,
    found: u64,
    limit: u64,
    option: &'static str,
) -> Result<(), ImageError> {
    match found > limit {
        false => Ok(()),
        true => Err(ImageError::Limit {
            what,
            found,
            limit,
            option,
        }),
    }
}
