//! JPEG 2000, by a decoder without `unsafe`.

mod cells;

use hayro_jpeg2000::{ColorSpace, DecodeError, DecodeSettings, DecoderContext, Image};
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};

use super::{color::to_rgb, error::ImageError, options::DecodeOptions};
use crate::fault::{Cause, ErrorKind};

/// What the decoder holds for each sample: its coefficient, its place in a wavelet and its value.
const BYTES_PER_SAMPLE: u64 = 16;

/// Whether these bytes are a JPEG 2000: a file of it, or its bare stream.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0\0\0\x0cjP  ") || bytes.starts_with(cells::STREAM)
}

/// Decodes a JPEG 2000 to RGB, as Pillow converts it. Its colour profile is not applied, as that of no
/// picture is.
pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, ImageError> {
    let image = Image::new(bytes, &DecodeSettings::default()).map_err(fault)?;
    let (width, height) = (image.width(), image.height());
    if width == 0 || height == 0 {
        return Err(ImageError::Degenerate { width, height });
    }
    options.limits.check_size(width, height, bytes.len())?;
    let colors = colors(image.color_space())?;
    let channels = colors + u64::from(image.has_alpha());
    check_memory(
        bytes,
        u64::from(width) * u64::from(height) * channels,
        options,
    )?;

    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(fault)?;
    let channels: Vec<Vec<u8>> = decoded
        .components()
        .iter()
        .map(|channel| levels(channel.samples(), channel.bit_depth(), colors == 1))
        .collect();
    let picture = assemble(width, height, &channels, image.has_alpha());
    let picture = picture.ok_or_else(|| {
        ImageError::damaged("the JPEG 2000 has other channels than its header says")
    })?;
    Ok(to_rgb(&picture, options.transparency))
}

/// How many channels a pixel's colour has: 1 or 3.
fn colors(space: &ColorSpace) -> Result<u64, ImageError> {
    // Where an ICC profile says what its colours are.
    const SPACE: std::ops::Range<usize> = 16..20;
    let format = match space {
        ColorSpace::Gray => return Ok(1),
        ColorSpace::RGB => return Ok(3),
        ColorSpace::Icc { profile, .. } => match profile.get(SPACE) {
            Some(b"GRAY") => return Ok(1),
            Some(b"RGB ") => return Ok(3),
            _ => "JPEG 2000 in colours of a profile other than RGB",
        },
        ColorSpace::CMYK => "JPEG 2000 in four inks",
        ColorSpace::Unknown { .. } => "JPEG 2000 of unknown channels",
    };
    Err(ImageError::UnsupportedFormat { format })
}

/// Refuses what would take more memory than decoding may: a stream may cut its samples into cells of one,
/// each with a record of its own.
fn check_memory(bytes: &[u8], samples: u64, options: &DecodeOptions) -> Result<(), ImageError> {
    let cells = cells::bytes(bytes, samples)
        .ok_or_else(|| ImageError::damaged("the JPEG 2000 ends before its last tile does"))?;
    let found = samples
        .saturating_mul(BYTES_PER_SAMPLE)
        .saturating_add(cells);
    options.limits.check_alloc(found)
}

/// Samples as bytes: of fewer than 8 bits moved up, of more moved down, gray ones clipped, as Pillow does.
fn levels(samples: &[f32], depth: u8, gray: bool) -> Vec<u8> {
    let level = |sample: &f32| {
        // What is below 0 or no number is 0.
        let sample = sample.round() as u64;
        let level = match depth {
            0..8 => sample << (8 - depth),
            8 => sample,
            _ if gray => sample,
            _ => sample >> (depth - 8).min(63),
        };
        u8::try_from(level).unwrap_or(u8::MAX)
    };
    samples.iter().map(level).collect()
}

/// Channels side by side as a picture; `None` if they are not of its size.
fn assemble(width: u32, height: u32, channels: &[Vec<u8>], alpha: bool) -> Option<DynamicImage> {
    let pixels = width as usize * height as usize;
    if channels.iter().any(|channel| channel.len() != pixels) {
        return None;
    }
    let mut joined = Vec::with_capacity(pixels * channels.len());
    for pixel in 0..pixels {
        joined.extend(channels.iter().filter_map(|channel| channel.get(pixel)));
    }
    Some(match (channels.len(), alpha) {
        (1, false) => GrayImage::from_raw(width, height, joined)?.into(),
        (2, true) => GrayAlphaImage::from_raw(width, height, joined)?.into(),
        (3, false) => RgbImage::from_raw(width, height, joined)?.into(),
        (4, true) => RgbaImage::from_raw(width, height, joined)?.into(),
        _ => return None,
    })
}

fn fault(error: DecodeError) -> ImageError {
    ImageError::Decode {
        kind: ErrorKind::Malformed,
        source: Cause::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_any_depth_become_bytes() {
        assert_eq!(levels(&[0.0, 3.0], 2, false), [0, 192]);
        assert_eq!(levels(&[-1.0, 254.6, 300.0], 8, false), [0, 255, 255]);
        assert_eq!(levels(&[65_535.0, 256.0], 16, false), [255, 1]);
        assert_eq!(levels(&[65_535.0, 200.0], 16, true), [255, 200]);
        assert_eq!(levels(&[f32::NAN, f32::INFINITY], 38, false), [0, 255]);
    }

    #[test]
    fn channels_of_another_size_are_no_picture() {
        assert!(assemble(2, 1, &[vec![1, 2]], false).is_some());
        assert!(assemble(2, 1, &[vec![1]], false).is_none());
        assert!(assemble(2, 1, &[vec![1, 2], vec![1, 2]], false).is_none());
    }
}
