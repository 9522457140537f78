//! TIFFs that the `image` crate has no colour type for, and what its decoder does not check.

use std::io::Cursor;

use image::{Luma, RgbImage};
use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::Tag,
};

use super::{error::ImageError, limits::ImageLimits};

/// Refuses a picture whose directory counts more values than its file can hold: the decoder makes room
/// for them before it reads any.
pub(super) fn check(bytes: &[u8]) -> Result<(), ImageError> {
    match counts_fit(bytes) {
        Some(false) => Err(ImageError::damaged(
            "the TIFF counts more values than the file has bytes",
        )),
        _ => Ok(()),
    }
}

/// Whether the values that the first directory counts fit into the file; `None` if it has no whole
/// directory, which the decoder says better.
fn counts_fit(bytes: &[u8]) -> Option<bool> {
    let little = bytes.starts_with(b"II");
    let short = |place: usize| {
        let found = *bytes.get(place..)?.first_chunk()?;
        Some(match little {
            true => u16::from_le_bytes(found),
            false => u16::from_be_bytes(found),
        })
    };
    let long = |place: usize| {
        let found = *bytes.get(place..)?.first_chunk()?;
        Some(match little {
            true => u32::from_le_bytes(found),
            false => u32::from_be_bytes(found),
        })
    };
    let directory = long(4)? as usize;
    for entry in 0..usize::from(short(directory)?) {
        let place = directory + 2 + 12 * entry;
        let width: u64 = match short(place + 2)? {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        };
        if u64::from(long(place + 4)?) * width > bytes.len() as u64 {
            return Some(false);
        }
    }
    Some(true)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_counts_no_more_than_the_file_holds() {
        let picture = |count: u32| {
            let entry = [&[0x11, 1, 4, 0][..], &count.to_le_bytes(), &[0; 4]].concat();
            [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat()
        };
        assert_eq!(counts_fit(&picture(1)), Some(true));
        assert_eq!(counts_fit(&picture(7_929_857)), Some(false));
        assert!(check(&picture(u32::MAX)).is_err());
        for end in 0..picture(1).len() {
            assert_ne!(counts_fit(&picture(1)[..end]), Some(false), "{end}");
        }
    }
}
