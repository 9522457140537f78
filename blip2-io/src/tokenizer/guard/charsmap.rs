//! SentencePiece's table of normalisation: a trie of bytes as a double array, and the texts to which its
//! leaves point.
//!
//! The library follows the array wherever it points. Here every place that it could reach is looked at
//! once; the layout is that of `darts.h` in SentencePiece's third parties.

use std::collections::VecDeque;

use tokenizers::normalizers::precompiled::Precompiled;

/// The most bytes by which one character is replaced. NFKC's worst is 33.
const MAX_REPLACEMENT: usize = 256;

/// The table in a SentencePiece model.
pub(crate) fn charsmap(bytes: &[u8]) -> Result<Precompiled, String> {
    Table::split(bytes)?.check()?;
    Precompiled::from(bytes).map_err(|error| error.to_string())
}

/// Checks the table in a `tokenizer.json`, where it is in base64, and says how many times longer it may
/// make a text.
pub(super) fn encoded(text: &str) -> Result<f64, String> {
    let bytes = decode(text).ok_or("precompiled_charsmap is no base64")?;
    Table::split(&bytes)?.check()
}

struct Table<'b> {
    array: Vec<u32>,
    texts: &'b str,
}

impl<'b> Table<'b> {
    fn split(bytes: &'b [u8]) -> Result<Self, String> {
        const SHORT: &str = "precompiled_charsmap is cut short";
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or(SHORT)?;
        let size = u32::from_le_bytes(*size) as usize / 4 * 4;
        let (array, texts) = rest.split_at_checked(size).ok_or(SHORT)?;
        let (units, _) = array.as_chunks::<4>();
        let texts = str::from_utf8(texts);
        Ok(Self {
            array: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            texts: texts.map_err(|_| "precompiled_charsmap holds a text that is no UTF-8")?,
        })
    }

    /// Follows every path from the root, the shortest first, and says how many times longer than its path
    /// a leaf's text is at most.
    fn check(&self) -> Result<f64, String> {
        const ASTRAY: &str = "precompiled_charsmap points outside itself";
        let root = self.array.first().ok_or("precompiled_charsmap is empty")?;
        let mut seen = vec![false; self.array.len()];
        let mut open = VecDeque::from([(offset(*root), 1_usize)]);
        let mut growth: f64 = 1.0;
        while let Some((base, depth)) = open.pop_front() {
            // The unit of any byte is read before it is known whether it is that byte's.
            if self.array.len() <= base | 0xff {
                return Err(ASTRAY.into());
            }
            match seen.get_mut(base) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => continue,
                None => return Err(ASTRAY.into()),
            }
            for byte in 1..=0xff_u32 {
                let place = base ^ byte as usize;
                let unit = *self.array.get(place).ok_or(ASTRAY)?;
                if unit & (1 << 31 | 0xff) != byte {
                    continue;
                }
                let next = place ^ offset(unit);
                if unit >> 8 & 1 == 1 {
                    let leaf = *self.array.get(next).ok_or(ASTRAY)?;
                    let length = self.text_length((leaf & !(1 << 31)) as usize)?;
                    growth = growth.max(length as f64 / depth as f64);
                }
                open.push_back((next, depth + 1));
            }
        }
        Ok(growth)
    }

    /// How long the text is that begins at a leaf's value; it ends with a zero, or with the table.
    fn text_length(&self, start: usize) -> Result<usize, String> {
        let text = self
            .texts
            .get(start..)
            .ok_or("precompiled_charsmap points outside its texts")?;
        let longest = text.bytes().take(MAX_REPLACEMENT + 1);
        match longest.clone().position(|byte| byte == 0) {
            Some(length) => Ok(length),
            None if text.len() <= MAX_REPLACEMENT => Ok(text.len()),
            None => Err("precompiled_charsmap makes a text longer without measure".into()),
        }
    }
}

/// Where a unit's children lie, as a difference from its own place.
fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & 1 << 9) >> 6)
}

/// Bytes of base64, with or without its padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0;
        for symbol in group {
            bits = bits << 6 | value(*symbol)?;
        }
        bits <<= 6 * (4 - group.len());
        let [_, whole @ ..] = u32::to_be_bytes(bits);
        bytes.extend(whole.iter().take(group.len().checked_sub(1)?));
    }
    Some(bytes)
}

fn value(symbol: u8) -> Option<u32> {
    let place = match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        assert_eq!(decode("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(decode("aGVsbG8h").unwrap(), b"hello!");
        assert_eq!(decode("aGU=").unwrap(), b"he");
        assert!(decode("a?").is_none());
    }

    /// A table that maps `a` to `b`: the root's children begin at 256, `a`'s leaf lies at 512.
    fn table(leaf: u32) -> Vec<u8> {
        let mut array = vec![0_u32; 1024];
        array[0] = 256 << 10;
        let place = 256 ^ 0x61;
        array[place] = ((place as u32 ^ 512) << 10) | 1 << 8 | 0x61;
        array[512] = leaf | 1 << 31;
        let bytes: Vec<u8> = array.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        [&(bytes.len() as u32).to_le_bytes()[..], &bytes, b"x\0b\0"].concat()
    }

    #[test]
    fn a_table_is_followed_wherever_it_points() {
        let bytes = table(2);
        assert_eq!(
            charsmap(&bytes).unwrap().normalize_string("banana"),
            "bbnbnb"
        );
        assert!(
            charsmap(&table(5))
                .unwrap_err()
                .contains("outside its texts")
        );
        // Cut in the middle of the blocks that the paths lead to.
        let mut short = bytes[..4 + 4 * 500].to_vec();
        short[..4].copy_from_slice(&2000_u32.to_le_bytes());
        assert!(charsmap(&short).unwrap_err().contains("outside itself"));
        let long = [&bytes[..bytes.len() - 1], &[b'b'; 1000][..]].concat();
        assert!(charsmap(&long).unwrap_err().contains("without measure"));
        assert!(charsmap(&[]).is_err());
        assert!(charsmap(&[0, 0, 0, 0]).is_err());
    }
}
