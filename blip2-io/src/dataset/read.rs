//! Files of records, read whole.

use std::path::Path;

use crate::{
    regular,
    unicode::{UTF_16, is_utf16},
};

use super::{DatasetError, packed::packed};

/// How many bytes tell in which encoding a text is.
const FIRST: usize = 8;

/// The most bytes of a file of records; Visual Genome's has 1.2 GB.
const MAX_BYTES: u64 = 8 << 30;

pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, DatasetError> {
    regular::read(path, MAX_BYTES)
        .map_err(|source| DatasetError::unread(path.to_path_buf(), source))
}

/// The bytes of a file of text, without the mark with which some programs begin it.
pub(super) fn text(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = bytes(path)?;
    if let Some(packed) = packed(&bytes) {
        return Err(DatasetError::format(path, packed.way_out()));
    }
    if let Some(cause) = other_encoding(&bytes) {
        return Err(DatasetError::format(path, cause));
    }
    let mark = bytes.len() - without_mark(&bytes).len();
    bytes.drain(..mark);
    Ok(bytes)
}

/// Some text without the byte-order mark that Windows' programs put before it.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// What is said of a text that is no UTF-8, as its first bytes tell: in UTF-16 every other byte of what is
/// written in English is 0, also where no mark says which encoding it is.
pub(super) fn other_encoding(text: &[u8]) -> Option<&'static str> {
    let start = &text[..text.len().min(FIRST)];
    let zeros = |from: usize| start.iter().skip(from).step_by(2).all(|&byte| byte == 0);
    let is_unmarked = start.len() >= 4 && (zeros(0) != zeros(1));
    (is_utf16(text) || is_unmarked).then_some(UTF_16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_another_encoding_is_told_apart() {
        let wide = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "{\"image\"".encode_utf16().flat_map(order).collect()
        };
        for text in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
            assert_eq!(other_encoding(&text), Some(UTF_16));
        }
        assert_eq!(other_encoding(b"\xff\xfe{\0"), Some(UTF_16));
        for text in ["", "{", "{\"image\"", "\u{feff}[1, 2]", "\0\0\0\0"] {
            assert_eq!(other_encoding(text.as_bytes()), None, "{text:?}");
        }
    }
}
