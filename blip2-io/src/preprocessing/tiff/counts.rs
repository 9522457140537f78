//! What a TIFF's directory and its strips claim, before the decoder believes it.

use std::io::Cursor;

use tiff::{
    decoder::Decoder,
    tags::{CompressionMethod, Tag},
};

use super::numbers::{FIRST, Numbers, entry};
use crate::preprocessing::{error::ImageError, jpeg};

/// Within how many bytes a JPEG that is a strip or a tile says how large it is.
const START: usize = 16 << 10;

/// Refuses a picture whose directory counts more values than its file can hold: the decoder makes room
/// for them before it reads any. So it does for a JPEG that is a strip or a tile of the picture and says
/// that it is larger.
pub(super) fn check(bytes: &[u8]) -> Result<(), ImageError> {
    if counts_fit(bytes) == Some(false) {
        return Err(ImageError::damaged(
            "the TIFF counts more values than the file has bytes",
        ));
    }
    match strips_fit(bytes) {
        Some(false) => Err(ImageError::damaged(
            "the TIFF holds a JPEG that is larger than its place in the picture",
        )),
        _ => Ok(()),
    }
}

/// Whether the values that the first directory counts fit into the file; `None` if it has no whole
/// directory, which the decoder says better.
fn counts_fit(bytes: &[u8]) -> Option<bool> {
    let numbers = Numbers::of(bytes)?;
    let short = |place| numbers.short(bytes, place);
    let long = |place| numbers.long(bytes, place);
    let directory = usize::try_from(long(FIRST)?).ok()?;
    for number in 0..usize::from(short(directory)?) {
        let place = entry(directory, number)?;
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

/// Whether every JPEG in the file is of the size of its strip or tile at most, as `libtiff` demands;
/// `None` where there is none, or where it cannot be told, which the decoder says better.
fn strips_fit(bytes: &[u8]) -> Option<bool> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression).ok()??;
    if compression != CompressionMethod::ModernJPEG.to_u16() {
        return None;
    }
    let (width, height) = decoder.chunk_dimensions();
    let tables = decoder.find_tag(Tag::JPEGTables).ok()?;
    let tables = tables.and_then(|tables| tables.into_u8_vec().ok());
    let fits = |jpeg: &[u8]| match jpeg::dimensions(jpeg.get(..START).unwrap_or(jpeg)) {
        Some((found_width, found_height)) => found_width <= width && found_height <= height,
        None => jpeg.len() <= START,
    };
    let offsets = match decoder.find_tag(Tag::StripOffsets).ok()? {
        Some(offsets) => offsets,
        None => decoder.find_tag(Tag::TileOffsets).ok()??,
    };
    let mut strips = offsets.into_u64_vec().ok()?.into_iter();
    // At 0 is the file's own header: such a strip is left out.
    let jpeg = |offset: u64| match usize::try_from(offset) {
        Ok(0) | Err(_) => None,
        Ok(offset) => bytes.get(offset..),
    };
    let strips_fit = strips.all(|offset| jpeg(offset).is_none_or(fits));
    Some(strips_fit && tables.is_none_or(|tables| fits(&tables)))
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
