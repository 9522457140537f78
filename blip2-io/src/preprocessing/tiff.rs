//! TIFFs that the `image` crate has no colour type for.

use std::io::Cursor;

use image::{Luma, RgbImage};
use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::Tag,
};

use super::{error::ImageError, limits::ImageLimits};

/// A TIFF of gray levels in floats or 32-bit numbers, clipped to 0 to 255 and without fractions, as
/// Pillow converts them; `None` of any other.
pub(super) fn gray(bytes: &[u8], limits: &ImageLimits) -> Option<Result<RgbImage, ImageError>> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let (width, height) = decoder.dimensions().ok()?;
    if !matches!(decoder.colortype(), Ok(ColorType::Gray(32 | 64))) {
        return None;
    }
    if let Err(error) = limits.check_dimensions(width, height) {
        return Some(Err(error));
    }
    let mut allowed = Limits::default();
    let pixels = u64::from(width) * u64::from(height) * 8;
    let budget = usize::try_from(limits.budget(pixels)).unwrap_or(usize::MAX);
    allowed.decoding_buffer_size = budget;
    allowed.intermediate_buffer_size = budget;
    let mut decoder = decoder.with_limits(allowed);
    let levels = decoder.read_image().map_err(decode);
    Some(levels.and_then(|levels| picture(width, height, levels)))
}

fn picture(width: u32, height: u32, levels: DecodingResult) -> Result<RgbImage, ImageError> {
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
        _ => {
            return Err(ImageError::UnsupportedFormat {
                format: "TIFF of 64-bit numbers",
            });
        }
    };
    let gray = image::ImageBuffer::<Luma<u8>, _>::from_raw(width, height, levels);
    let gray = gray.ok_or_else(|| ImageError::damaged("the TIFF has fewer levels than pixels"))?;
    Ok(image::DynamicImage::ImageLuma8(gray).into_rgb8())
}

fn decode(error: TiffError) -> ImageError {
    match error {
        TiffError::LimitsExceeded => ImageError::decode(image::ImageError::Limits(
            image::error::LimitError::from_kind(image::error::LimitErrorKind::InsufficientMemory),
        )),
        _ => ImageError::damaged("the TIFF's levels cannot be read"),
    }
}

/// The name of colours that are not read, by their `PhotometricInterpretation`.
pub(super) fn colours(bytes: &[u8]) -> Option<&'static str> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let interpretation = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation);
    Some(match interpretation.ok()?? {
        5 => "TIFF in separated inks",
        6 => "TIFF in YCbCr",
        8..=10 => "TIFF in CIELAB",
        32_803 | 34_892 => "raw camera TIFF",
        _ => return None,
    })
}
