//! Icons: files of several pictures, of which the largest is taken, as Pillow does.

use super::error::ImageError;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The largest picture of an icon if it is a PNG, which the `image` crate takes only with transparency.
pub(super) fn largest_png(bytes: &[u8]) -> Option<&[u8]> {
    const HEADER: usize = 6;
    let count = u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let (entries, _) = bytes.get(HEADER..)?.as_chunks::<16>();
    let entries = entries.iter().take(usize::from(count));
    // A side of 0 stands for 256.
    let side = |side: u8| u32::from(side.wrapping_sub(1)) + 1;
    let largest = entries.max_by_key(|[width, height, _, _, _, _, bits, ..]| {
        (side(*width) * side(*height), *bits)
    })?;
    let [.., s0, s1, s2, s3, p0, p1, p2, p3] = *largest;
    let size = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
    let place = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
    let picture = bytes.get(place..place.checked_add(size)?)?;
    picture.starts_with(PNG).then_some(picture)
}

/// Refuses a bitmap within an icon that is larger than an icon can say of it.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), ImageError> {
    const LARGEST: u32 = 256;
    match width.max(height) > LARGEST {
        false => Ok(()),
        true => Err(ImageError::damaged(
            "the bitmap of the icon is larger than an icon can be, 256 pixels",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(side: u8, place: u32, size: u32) -> Vec<u8> {
        let rest = [size.to_le_bytes(), place.to_le_bytes()].concat();
        [&[side, side, 0, 0, 1, 0, 32, 0][..], &rest].concat()
    }

    #[test]
    fn the_largest_entry_counts_and_its_place_is_checked() {
        let header = [0, 0, 1, 0, 2, 0];
        let data = [b"a bitmap", PNG].concat();
        let icon = |entries: [Vec<u8>; 2]| [&header[..], &entries.concat(), &data].concat();
        let (bitmap, png) = (entry(16, 38, 8), entry(0, 46, 8));
        assert_eq!(largest_png(&icon([bitmap.clone(), png.clone()])), Some(PNG));
        assert_eq!(
            largest_png(&icon([entry(0, 38, 8), entry(16, 46, 8)])),
            None
        );
        assert_eq!(
            largest_png(&icon([bitmap, entry(0, u32::MAX, u32::MAX)])),
            None
        );
        assert_eq!(largest_png(&header), None);
    }
}
