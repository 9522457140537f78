//! TIFFs whose pixels are numbers of colours (TIFF 6.0, section 5), as Pillow reads them.

use std::io::Cursor;

use tiff::{
    ColorType,
    decoder::{Decoder, DecodingResult},
    tags::{PhotometricInterpretation, Tag},
};

use super::{Tiff, fault, numbers::Numbers, packed::unpacked};
use crate::preprocessing::error::ImageError;

/// The same file with its colours' numbers as levels of gray, which the decoder reads; `None` of one that has no
/// palette.
pub(super) fn as_levels(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let tag = Tag::PhotometricInterpretation;
    let found = decoder.find_tag_unsigned::<u16>(tag).ok()??;
    if found != PhotometricInterpretation::RGBPalette.to_u16() {
        return None;
    }
    let mut own = bytes.to_vec();
    let gray = PhotometricInterpretation::BlackIsZero.to_u16();
    Numbers::of(bytes)?.put_tag(&mut own, tag.to_u16(), gray)?;
    Some(own)
}

/// How many bits a number has, of those whose palette a file may have.
pub(super) fn bits(color: ColorType) -> Option<u8> {
    match color {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8)) => Some(bits),
        _ => None,
    }
}

/// The colours of pixels, each the number of one, of 1 to 8 bits.
pub(super) fn to_rgb(
    decoder: &mut Tiff<'_>,
    bits: u8,
    levels: DecodingResult,
) -> Result<Vec<u8>, ImageError> {
    let DecodingResult::U8(packed) = levels else {
        let format = "TIFF with a palette for numbers that are none of its";
        return Err(ImageError::UnsupportedFormat { format });
    };
    let (width, _) = decoder.dimensions().map_err(fault)?;
    let palette = palette(decoder)?;
    let color = |number: u8| *palette.get(usize::from(number)).unwrap_or(&[0; 3]);
    Ok(unpacked(&packed, bits, width as usize)
        .flat_map(color)
        .collect())
}

/// All reds, then all greens and all blues, of which 8 of 16 bits are taken.
fn palette(decoder: &mut Tiff<'_>) -> Result<Vec<[u8; 3]>, ImageError> {
    let missing =
        || ImageError::damaged("the TIFF's pixels are numbers in a palette that it has not");
    let map = decoder.find_tag(Tag::ColorMap).map_err(fault)?;
    let map = map.ok_or_else(missing)?.into_u16_vec();
    let map = map.map_err(|_| missing())?;
    let (reds, others) = map.split_at(map.len() / 3);
    let (greens, blues) = others.split_at(reds.len());
    let colors = reds.iter().zip(greens).zip(blues);
    Ok(colors
        .map(|((red, green), blue)| [red, green, blue].map(|level| (level >> 8) as u8))
        .collect())
}
