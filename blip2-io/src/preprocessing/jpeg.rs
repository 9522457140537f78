//! How large a JPEG is, and where it ends.

/// The bytes of a JPEG up to its own end marker; `None` if that is missing. Cameras put films and
/// further pictures behind it.
///
/// A file that is cut short has no end: the decoder fills what is missing with gray and says nothing; a
/// model would answer about the gray.
pub(super) fn whole(bytes: &[u8]) -> Option<&[u8]> {
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    let mut place = 0;
    let mut in_scan = false;
    loop {
        let marker = next_marker(bytes, &mut place)?;
        match marker {
            // An end before any scan is that of a picture without pixels, which a thumbnail's may be
            // that stands where it should not.
            END if in_scan => return bytes.get(..place),
            END => return None,
            // Markers without content: a start, restarts, and a byte that the standard keeps free.
            0xd8 | 0xd0..=0xd7 | 0x01 => {}
            _ => {
                let length = bytes.get(place..)?.first_chunk::<2>()?;
                place += usize::from(u16::from_be_bytes(*length));
                in_scan |= marker == SCAN;
            }
        }
    }
}

/// The next marker at or behind a place, which is moved behind it. What stands between is a scan's data,
/// in which a byte of 255 is followed by 0.
fn next_marker(bytes: &[u8], place: &mut usize) -> Option<u8> {
    loop {
        let rest = bytes.get(*place..)?;
        *place += rest.iter().position(|byte| *byte == 0xff)?;
        // Any number of 255s may stand before a marker.
        let rest = bytes.get(*place..)?;
        *place += rest.iter().position(|byte| *byte != 0xff)?;
        let marker = *bytes.get(*place)?;
        *place += 1;
        if marker != 0 {
            return Some(marker);
        }
    }
}

/// The width and height that a JPEG states, or a beginning of one; `None` where it states none before its
/// first scan.
pub(super) fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut place = 0;
    loop {
        let marker = next_marker(bytes, &mut place)?;
        let segment = bytes.get(place..)?;
        match marker {
            0xd8 | 0x01 => {}
            0xd0..=0xda => return None,
            // Frames of all kinds: these numbers but for those of Huffman and arithmetic tables, and one
            // that the standard keeps free.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let [_, _, _, h0, h1, w0, w1] = *segment.first_chunk()?;
                let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
                return Some((side(w0, w1), side(h0, h1)));
            }
            _ => place += usize::from(u16::from_be_bytes(*segment.first_chunk()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_stands_in_the_frame() {
        let frame = [0xff, 0xc2, 0, 17, 8, 0x12, 0x34, 0, 9, 3];
        let bytes = [&[0xff, 0xd8, 0xff, 0xdb, 0, 4, 0xff, 0xc0][..], &frame].concat();
        assert_eq!(dimensions(&bytes), Some((9, 0x1234)));
        assert_eq!(dimensions(&PICTURE), None);
        for end in 0..bytes.len() - 1 {
            assert_eq!(dimensions(&bytes[..end]), None, "{end}");
        }
    }

    /// A start, a table, a scan with a stuffed byte and a restart, an end.
    const PICTURE: [u8; 22] = [
        0xff, 0xd8, 0xff, 0xdb, 0, 4, 0xff, 0xd9, 0xff, 0xda, 0, 3, 9, 1, 0xff, 0, 0xff, 0xd0, 2,
        3, 0xff, 0xd9,
    ];

    #[test]
    fn a_picture_ends_at_its_own_marker_whatever_stands_behind() {
        for behind in [
            &b""[..],
            &[0xff, 0xda, 1, 2],
            b"a film",
            &[0xff, 0xd8, 0xff, 0xda],
        ] {
            let bytes = [&PICTURE[..], behind].concat();
            assert_eq!(whole(&bytes), Some(&PICTURE[..]));
        }
    }

    #[test]
    fn a_picture_that_is_cut_anywhere_has_no_end() {
        for end in 0..PICTURE.len() {
            assert_eq!(whole(&PICTURE[..end]), None, "{end}");
        }
    }
}
