//! Netpbm's gray and colour pictures, whose levels go up to any number, scaled as Pillow does.

use std::io::{Cursor, Read};

use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, Limits, RgbImage, codecs::pnm::PnmDecoder,
};

use super::{covered, error::ImageError, options::DecodeOptions};

/// The kind of such a picture, its highest level, and where its levels begin.
#[derive(Debug, PartialEq)]
struct Header<'b> {
    /// What stands before the highest level, without the space between them.
    start: &'b [u8],
    in_words: bool,
    highest: u16,
    levels: &'b [u8],
}

/// Decodes a picture of the kinds P2, P3, P5 and P6; `None` of others, and of what has no such header.
pub(super) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Option<Result<RgbImage, ImageError>> {
    header(bytes).map(|header| read(bytes, &header, options))
}

fn read(
    bytes: &[u8],
    header: &Header<'_>,
    options: &DecodeOptions,
) -> Result<RgbImage, ImageError> {
    // The decoder scales too, rounding otherwise: it is told of levels that need none.
    let full = if header.highest > 255 {
        " 65535\n"
    } else {
        " 255\n"
    };
    let told = header
        .start
        .chain(full.as_bytes())
        .chain(Cursor::new(header.levels));
    let mut decoder = PnmDecoder::new(told).map_err(ImageError::decode)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Degenerate { width, height });
    }
    options.limits.check_size(width, height, bytes.len())?;
    let needed = decoder.total_bytes();
    options.limits.check_alloc(needed)?;
    covered::check(bytes, ImageFormat::Pnm, (width, height), needed)?;
    let mut allowed = Limits::no_limits();
    allowed.max_alloc = Some(options.limits.budget(needed));
    decoder.set_limits(allowed).map_err(ImageError::decode)?;
    let image = DynamicImage::from_decoder(decoder).map_err(ImageError::decode)?;
    if header.in_words && highest(&image) > header.highest {
        return Err(ImageError::damaged(
            "a level of the PNM is above the highest that its header states",
        ));
    }
    Ok(scaled(image, header.highest))
}

fn highest(image: &DynamicImage) -> u16 {
    let bytes = |levels: &[u8]| levels.iter().max().copied().map_or(0, u16::from);
    let words = |levels: &[u16]| levels.iter().max().copied().unwrap_or(0);
    match image {
        DynamicImage::ImageLuma8(gray) => bytes(gray),
        DynamicImage::ImageRgb8(rgb) => bytes(rgb),
        DynamicImage::ImageLuma16(gray) => words(gray),
        DynamicImage::ImageRgb16(rgb) => words(rgb),
        _ => 0,
    }
}

/// Levels as Pillow has them: scaled to 255 and rounded; gray ones that go above 255 scaled to 65,535 and
/// cut off at 255, as it does when such a picture becomes RGB.
fn scaled(image: DynamicImage, highest: u16) -> RgbImage {
    let level = |level: u16, full: f64| {
        let share = f64::from(level) / f64::from(highest);
        // What is above the highest becomes 255.
        (share * full).round_ties_even() as u8
    };
    let colour = |found: u16| level(found, 255.0);
    let gray = |found: u16| level(found, 65_535.0);
    match image {
        DynamicImage::ImageRgb8(rgb) if highest == 255 => rgb,
        DynamicImage::ImageRgb8(mut rgb) => {
            rgb.iter_mut()
                .for_each(|found| *found = colour(u16::from(*found)));
            rgb
        }
        DynamicImage::ImageRgb16(rgb) => {
            let (width, height) = rgb.dimensions();
            let levels = rgb.into_raw().into_iter().map(colour).collect();
            ImageBuffer::from_raw(width, height, levels).unwrap_or_default()
        }
        DynamicImage::ImageLuma16(deep) => {
            RgbImage::from_fn(deep.width(), deep.height(), |x, y| {
                image::Rgb([gray(deep.get_pixel(x, y).0[0]); 3])
            })
        }
        other => {
            let flat = other.into_luma8();
            RgbImage::from_fn(flat.width(), flat.height(), |x, y| {
                image::Rgb([colour(u16::from(flat.get_pixel(x, y).0[0])); 3])
            })
        }
    }
}

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let [b'P', kind @ (b'2' | b'3' | b'5' | b'6'), rest @ ..] = bytes else {
        return None;
    };
    let (_, rest) = number(rest)?;
    let (_, rest) = number(rest)?;
    let start = bytes.get(..bytes.len() - rest.len())?;
    let (highest, rest) = number(rest)?;
    let (space, levels) = rest.split_first()?;
    let highest = u16::try_from(highest).ok()?;
    (space.is_ascii_whitespace() && highest > 0).then_some(Header {
        start,
        in_words: matches!(kind, b'2' | b'3'),
        highest,
        levels,
    })
}

/// The number that stands behind spaces and comments, and what follows it.
fn number(mut bytes: &[u8]) -> Option<(u64, &[u8])> {
    loop {
        match bytes.first()? {
            b'#' => {
                let end = bytes
                    .iter()
                    .position(|byte| matches!(byte, b'\n' | b'\r'))?;
                bytes = bytes.get(end..)?;
            }
            byte if byte.is_ascii_whitespace() => bytes = bytes.get(1..)?,
            _ => break,
        }
    }
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = bytes.split_at_checked(digits)?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}
