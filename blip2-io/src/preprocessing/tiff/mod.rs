//! TIFFs that the `image` crate has no colour type for, or converts otherwise than Pillow, and what its
//! decoder does not check.

mod colors;
mod counts;
mod numbers;
mod packed;
mod pages;
mod palette;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage, metadata::Orientation as Turned};
use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult, Limits, ifd::Value},
    tags::{CompressionMethod, PhotometricInterpretation, PlanarConfiguration, Tag},
};

use super::{
    color::Transparency,
    covered,
    error::ImageError,
    limits::ImageLimits,
    options::{DecodeOptions, Orientation},
};
use crate::fault::{Cause, ErrorKind};
use colors::YCbCr;
pub(super) use pages::Pages;

type Tiff<'b> = Decoder<Cursor<&'b [u8]>>;

/// How luma and colour make red, green and blue, and which of their codes stand for nothing and all.
const YCBCR_COEFFICIENTS: Tag = Tag::from_u16_exhaustive(529);
const REFERENCE_BLACK_WHITE: Tag = Tag::from_u16_exhaustive(532);

/// Refuses a picture whose directory or strips claim more than they have.
pub(super) fn check(bytes: &[u8]) -> Result<(), ImageError> {
    counts::check(bytes)
}

/// A TIFF of gray levels in floats, 32-bit numbers or less than a byte, or with transparency, of four inks, of luma and colour, or with a
/// palette, in RGB as Pillow converts it; `None` of any other.
pub(super) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Option<Result<RgbImage, ImageError>> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let Ok(color) = decoder.colortype() else {
        let own = palette::as_levels(bytes)?;
        let decoder = Decoder::new(Cursor::new(own.as_slice())).ok()?;
        return of_palette(decoder, options);
    };
    let ours = match color {
        ColorType::Gray(2 | 4 | 32 | 64) => true,
        // With transparency, as it is meant to be.
        ColorType::Multiband {
            bit_depth: 8 | 16,
            num_samples: 2,
        } => !is_planar(&mut decoder) && !is_inverted(&mut decoder),
        // What has each of its channels by itself is left to the `image` crate to refuse.
        ColorType::CMYK(8) | ColorType::YCbCr(8) => !is_planar(&mut decoder),
        _ => false,
    };
    let transparency = options.transparency;
    let to_rgb = |decoder: &mut Tiff<'_>, levels| to_rgb(decoder, color, levels, transparency);
    ours.then(|| read(decoder, options, to_rgb))
}

/// A TIFF whose levels are numbers of colours; `None` of numbers that none can be.
fn of_palette(
    mut decoder: Tiff<'_>,
    options: &DecodeOptions,
) -> Option<Result<RgbImage, ImageError>> {
    let bits = palette::bits(decoder.colortype().ok()?)?;
    let to_rgb = |decoder: &mut Tiff<'_>, levels| palette::to_rgb(decoder, bits, levels);
    Some(read(decoder, options, to_rgb))
}

/// A picture whose levels `to_rgb` makes colours of.
fn read(
    mut decoder: Tiff<'_>,
    options: &DecodeOptions,
    to_rgb: impl FnOnce(&mut Tiff<'_>, DecodingResult) -> Result<Vec<u8>, ImageError>,
) -> Result<RgbImage, ImageError> {
    let bytes = *decoder.inner().get_ref();
    let (width, height) = decoder.dimensions().map_err(fault)?;
    if width == 0 || height == 0 {
        return Err(ImageError::Degenerate { width, height });
    }
    options.limits.check_size(width, height, bytes.len())?;
    covered::check(bytes, ImageFormat::Tiff, (width, height), 0)?;
    let turned = orientation(&mut decoder);
    let pixels = u64::from(width) * u64::from(height);
    let mut decoder = decoder.with_limits(allowed(pixels, &options.limits));
    let levels = decoder.read_image().map_err(fault)?;
    let rgb = to_rgb(&mut decoder, levels)?;
    let rgb = RgbImage::from_raw(width, height, rgb);
    let rgb = rgb.ok_or_else(|| ImageError::damaged("the TIFF has fewer levels than pixels"))?;
    let mut picture = DynamicImage::ImageRgb8(rgb);
    if options.orientation == Orientation::Apply {
        picture.apply_orientation(turned);
    }
    Ok(picture.into_rgb8())
}

fn allowed(pixels: u64, limits: &ImageLimits) -> Limits {
    let budget = usize::try_from(limits.budget(pixels * 8)).unwrap_or(usize::MAX);
    let mut allowed = Limits::default();
    allowed.decoding_buffer_size = budget;
    allowed.intermediate_buffer_size = budget;
    allowed
}

fn to_rgb(
    decoder: &mut Tiff<'_>,
    color: ColorType,
    levels: DecodingResult,
    transparency: Transparency,
) -> Result<Vec<u8>, ImageError> {
    let (width, _) = decoder.dimensions().map_err(fault)?;
    let format = "TIFF of numbers that are no levels";
    let unsupported = ImageError::UnsupportedFormat { format };
    match (color, levels) {
        (ColorType::CMYK(_), DecodingResult::U8(inks)) => Ok(colors::cmyk(&inks)),
        (ColorType::YCbCr(_), DecodingResult::U8(levels)) => Ok(ycbcr(decoder).to_rgb(&levels)),
        (ColorType::Gray(bits @ (2 | 4)), DecodingResult::U8(levels)) => {
            Ok(colors::few_grays(&levels, bits, width as usize))
        }
        (ColorType::Gray(_), levels) => colors::gray(levels).ok_or(unsupported),
        (ColorType::Multiband { .. }, levels) => {
            colors::gray_and_alpha(levels, transparency).ok_or(unsupported)
        }
        _ => Err(unsupported),
    }
}

/// How the file's luma and colour are meant. Of a JPEG within it that is JPEG's own affair.
fn ycbcr(decoder: &mut Tiff<'_>) -> YCbCr {
    let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression);
    if compression.ok().flatten() == Some(CompressionMethod::ModernJPEG.to_u16()) {
        return YCbCr::default();
    }
    let parts = rationals(decoder, YCBCR_COEFFICIENTS);
    let reference = rationals(decoder, REFERENCE_BLACK_WHITE);
    YCbCr::new(
        parts.unwrap_or(YCbCr::PARTS),
        reference.unwrap_or(YCbCr::REFERENCE),
    )
}

/// The fractions that a tag holds, if it has so many.
fn rationals<const N: usize>(decoder: &mut Tiff<'_>, tag: Tag) -> Option<[f32; N]> {
    let Value::List(values) = decoder.find_tag(tag).ok()?? else {
        return None;
    };
    let fraction = |value: Value| match value {
        Value::Rational(over, under) if under > 0 => Some(over as f32 / under as f32),
        Value::Short(number) => Some(f32::from(number)),
        Value::Unsigned(number) => Some(number as f32),
        _ => None,
    };
    let fractions: Option<Vec<f32>> = values.into_iter().map(fraction).collect();
    fractions?.try_into().ok()
}

/// Whether 0 is white.
fn is_inverted(decoder: &mut Tiff<'_>) -> bool {
    let found = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation);
    found.ok().flatten() == Some(PhotometricInterpretation::WhiteIsZero.to_u16())
}

fn is_planar(decoder: &mut Tiff<'_>) -> bool {
    let found = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration);
    found.ok().flatten() == Some(PlanarConfiguration::Planar.to_u16())
}

/// How the picture lies; what is damaged says nothing.
fn orientation(decoder: &mut Tiff<'_>) -> Turned {
    let found = decoder.find_tag_unsigned::<u8>(Tag::Orientation);
    let found = found.ok().flatten().and_then(Turned::from_exif);
    found.unwrap_or(Turned::NoTransforms)
}

fn fault(error: TiffError) -> ImageError {
    match error {
        TiffError::LimitsExceeded => ImageError::decode(image::ImageError::Limits(
            image::error::LimitError::from_kind(image::error::LimitErrorKind::InsufficientMemory),
        )),
        TiffError::UnsupportedError(reason) => ImageError::Decode {
            kind: ErrorKind::Unsupported,
            source: Cause::new(reason),
        },
        _ => ImageError::damaged("the TIFF's levels cannot be read"),
    }
}

/// The name of colours that are not read, by their `PhotometricInterpretation`.
pub(super) fn colours(bytes: &[u8]) -> Option<&'static str> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let interpretation = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation);
    Some(match interpretation.ok()?? {
        3 => "TIFF with a palette for numbers of other than 1, 2, 4 or 8 bits",
        5 => "TIFF in separated inks other than four of 8 bits",
        6 => "TIFF in YCbCr with thinned colours",
        8..=10 => "TIFF in CIELAB",
        32_803 | 34_892 => "raw camera TIFF",
        _ => return None,
    })
}
