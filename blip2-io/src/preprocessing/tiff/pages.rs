//! The pages of a TIFF: where the directory of each is, and the file as if one of them were its first.
//!
//! Directories are a chain, each with the place of the next one behind its entries (TIFF 6.0, section 2).

use std::collections::BTreeSet;

use super::numbers::{FIRST, Numbers, entry};

/// More pages than any document has; a chain is not followed further.
const MOST: usize = 65_536;

/// The tags that say what a directory's picture is for stand first: they are the lowest of all.
const LOOKED_AT: usize = 4;

/// What the picture of a directory is for (TIFF 6.0), in bits, and in a number (before).
const NEW_SUBFILE_TYPE: u16 = 254;
const SUBFILE_TYPE: u16 = 255;
/// How wide it is, which every picture says.
const WIDTH: u16 = 256;

/// A smaller version of another page, or a mask of what of one is seen, in bits.
const REDUCED_OR_MASK: u32 = 0b101;
/// A smaller version, in a number.
const REDUCED: u32 = 2;

/// The pages of a TIFF.
pub(in crate::preprocessing) struct Pages {
    numbers: Numbers,
    /// Where each one's directory is.
    places: Vec<u32>,
}

impl Pages {
    /// Those of a file: the first picture, and each after it that is neither a smaller version of one nor a
    /// mask. A chain that is damaged ends there, which is the decoder's to tell.
    pub(in crate::preprocessing) fn of(bytes: &[u8]) -> Option<Self> {
        let numbers = Numbers::of(bytes)?;
        let (mut places, mut known) = (Vec::new(), BTreeSet::new());
        let mut next = numbers.long(bytes, FIRST)?;
        // One that leads back would have no end.
        while next != 0 && known.len() < MOST && known.insert(next) {
            let Some((is_page, after)) = numbers.directory(bytes, next) else {
                break;
            };
            if is_page || places.is_empty() {
                places.push(next);
            }
            next = after;
        }
        Some(Self { numbers, places })
    }

    /// How many there are.
    pub(in crate::preprocessing) fn count(&self) -> usize {
        self.places.len()
    }

    /// Makes this page, counted from 0, the first one of its file; `None` if there is none such.
    pub(in crate::preprocessing) fn lead(&self, bytes: &mut [u8], page: usize) -> Option<()> {
        let place = *self.places.get(page)?;
        self.numbers.put_long(bytes, FIRST, place)
    }
}

impl Numbers {
    /// Whether the directory at `place` is of a page, and the place of the next one, or 0; `None` if it is
    /// not all in the file.
    fn directory(self, bytes: &[u8], place: u32) -> Option<(bool, u32)> {
        let start = usize::try_from(place).ok()?;
        let count = usize::from(self.short(bytes, start)?);
        let next = self.long(bytes, entry(start, count)?)?;
        // What some files have for a place behind their last page is none of a directory.
        let (mut has_width, mut is_whole) = (false, true);
        for number in 0..count.min(LOOKED_AT) {
            let at = entry(start, number)?;
            match self.short(bytes, at)? {
                NEW_SUBFILE_TYPE => is_whole &= self.value(bytes, at)? & REDUCED_OR_MASK == 0,
                SUBFILE_TYPE => is_whole &= self.value(bytes, at)? != REDUCED,
                WIDTH => has_width = true,
                _ => {}
            }
        }
        Some((has_width && is_whole, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF of directories with two entries each, of which each leads to the next, and the last back or
    /// nowhere.
    fn chain(numbers: Numbers, subfiles: &[u32], leads_back: bool) -> Vec<u8> {
        let short = |number: u16| match numbers {
            Numbers::Little => number.to_le_bytes(),
            Numbers::Big => number.to_be_bytes(),
        };
        let long = |number: u32| match numbers {
            Numbers::Little => number.to_le_bytes(),
            Numbers::Big => number.to_be_bytes(),
        };
        let mut bytes = match numbers {
            Numbers::Little => b"II*\0".to_vec(),
            Numbers::Big => b"MM\0*".to_vec(),
        };
        bytes.extend(long(8));
        for (number, subfile) in subfiles.iter().enumerate() {
            let is_last = number + 1 == subfiles.len();
            let next = match (is_last, leads_back) {
                (true, true) => 8,
                (true, false) => 0,
                _ => bytes.len() as u32 + 30,
            };
            bytes.extend(short(2));
            for (tag, value) in [(254, *subfile), (256, 7)] {
                bytes.extend([short(tag), short(4)].concat());
                bytes.extend([long(1), long(value)].concat());
            }
            bytes.extend(long(next));
        }
        bytes
    }

    #[test]
    fn a_chain_has_the_pages_in_it_and_ends() {
        for numbers in [Numbers::Little, Numbers::Big] {
            // The first picture is one, whatever it is for.
            let bytes = chain(numbers, &[1, 2, 1, 0, 4, 5], false);
            let pages = Pages::of(&bytes).unwrap();
            assert_eq!(pages.places, [8, 38, 98]);
            let mut third = bytes.clone();
            pages.lead(&mut third, 2).unwrap();
            assert_eq!(Pages::of(&third).unwrap().places[0], 98);
            assert_eq!(third[8..], bytes[8..]);
            assert!(pages.lead(&mut third, 3).is_none());

            // What has no width is no picture.
            let mut other = bytes.clone();
            other[98 + 14..98 + 16].fill(0);
            assert_eq!(Pages::of(&other).unwrap().count(), 2);

            let bytes = chain(numbers, &[0, 0], true);
            assert_eq!(Pages::of(&bytes).unwrap().count(), 2);
            for end in 0..bytes.len() {
                let cut = Pages::of(&bytes[..end]).map_or(0, |pages| pages.count());
                assert!(cut <= 1, "{end}");
            }
        }
        assert!(Pages::of(b"GIF89a").is_none());
    }
}
