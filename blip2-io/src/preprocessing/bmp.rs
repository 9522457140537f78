//! How many bytes a BMP's pixels take.

/// Where the header tells the place of the pixels, and its own length.
const PLACE: usize = 10;
const LENGTH: usize = 14;

/// The fewest bytes that a BMP of this size has; more than it has where its runs end before its last row.
/// `None` where the header is none.
pub(super) fn fewest_bytes(bytes: &[u8], width: u64, height: u64) -> Option<u64> {
    let place = number(bytes, PLACE)?;
    // The first kind of header has sides of two bytes.
    let (bits, compression) = match number(bytes, LENGTH)? {
        12 => (short(bytes, 24)?, 0),
        _ => (short(bytes, 28)?, number(bytes, 30)?),
    };
    let place = u64::from(place);
    Some(match compression {
        1 | 2 => {
            let four_bits = compression == 2;
            let runs = bytes.get(usize::try_from(place).ok()?..)?;
            match rows(runs, four_bits) {
                // The last row need not have an end.
                found if found + 1 >= height => 0,
                _ => bytes.len() as u64 + 1,
            }
        }
        _ => place + (width * u64::from(bits)).div_ceil(8) * height,
    })
}

/// How many rows runs of equal pixels end, or leave behind.
fn rows(mut runs: &[u8], four_bits: bool) -> u64 {
    let mut rows = 0;
    while let [count, value, rest @ ..] = runs {
        runs = rest;
        match (count, value) {
            (0, 0) => rows += 1,
            (0, 1) => break,
            (0, 2) => {
                let [_, down, rest @ ..] = runs else { break };
                rows += u64::from(*down);
                runs = rest;
            }
            // Pixels one by one, filled up to a whole number of two bytes.
            (0, pixels) => {
                let pixels = usize::from(*pixels);
                let bytes = if four_bits {
                    pixels.div_ceil(2)
                } else {
                    pixels
                };
                runs = runs.get(bytes.next_multiple_of(2)..).unwrap_or_default();
            }
            _ => {}
        }
    }
    rows
}

fn number(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(place..)?.first_chunk()?))
}

fn short(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(place..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A BMP of this compression, whose pixels are at 54.
    fn bmp(bits: u8, compression: u8, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 54];
        bytes[PLACE] = 54;
        bytes[LENGTH] = 40;
        bytes[28] = bits;
        bytes[30] = compression;
        bytes.extend(pixels);
        bytes
    }

    #[test]
    fn plain_pixels_take_their_bits() {
        assert_eq!(fewest_bytes(&bmp(24, 0, &[]), 10, 7), Some(54 + 210));
        assert_eq!(fewest_bytes(&bmp(1, 0, &[]), 10, 7), Some(54 + 14));
        assert_eq!(fewest_bytes(&bmp(24, 0, &[])[..30], 10, 7), None);
    }

    #[test]
    fn runs_are_followed_to_the_last_row() {
        // A run and its row's end, three pixels and theirs, two rows down, an unended row.
        let runs = [9, 1, 0, 0, 0, 3, 7, 7, 7, 0, 0, 0, 0, 2, 1, 2, 9, 1];
        assert_eq!(rows(&runs, false), 4);
        assert_eq!(fewest_bytes(&bmp(8, 1, &runs), 9, 5), Some(0));
        assert_eq!(fewest_bytes(&bmp(8, 1, &runs), 9, 6), Some(54 + 18 + 1));
        // Three pixels of four bits take two bytes.
        assert_eq!(rows(&[0, 3, 7, 7, 0, 0], true), 1);
        for (ended, found) in [(&[0, 0, 0, 1, 0, 0][..], 1), (&[0, 2, 1], 0), (&[0], 0)] {
            assert_eq!(rows(ended, false), found);
        }
    }
}
