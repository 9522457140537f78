//! Files of records, read whole.

use std::path::Path;

use crate::{
    regular,
    unicode::{UTF_16, is_utf16},
};

use super::{DatasetError, packed::packed};

/// The most bytes of a file of records; Visual Genome's has 1.2 GB.
const MAX_BYTES: u64 = 8 << 30;

pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, DatasetError> {
    regular::read(path, MAX_BYTES).map_err(|source| DatasetError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// The bytes of a file of text, without the mark with which some programs begin it.
pub(super) fn text(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = bytes(path)?;
    if let Some(packed) = packed(&bytes) {
        return Err(DatasetError::format(path, packed.way_out()));
    }
    if is_utf16(&bytes) {
        return Err(DatasetError::format(path, UTF_16));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}
