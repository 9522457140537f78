//! The header of a safetensors file.

use safetensors::{SafeTensorError, tensor::Metadata};

/// The longest header that the format allows.
const LONGEST: usize = 100_000_000;

/// Where the numbers begin, and what the header says of them: every tensor's place, checked against
/// its shape and format, all of them together as long as the file.
pub(super) fn read(file: &[u8]) -> Result<(usize, Metadata), SafeTensorError> {
    let (length, rest) = file
        .split_first_chunk::<8>()
        .ok_or(SafeTensorError::HeaderTooSmall)?;
    let length = usize::try_from(u64::from_le_bytes(*length))
        .ok()
        .filter(|length| *length <= LONGEST)
        .ok_or(SafeTensorError::HeaderTooLarge)?;
    // A copy: another process may write into a mapped file between a check and a use.
    let text = rest
        .get(..length)
        .ok_or(SafeTensorError::InvalidHeaderLength)?
        .to_vec();
    let text = String::from_utf8(text)
        .map_err(|error| SafeTensorError::InvalidHeader(error.utf8_error()))?;
    let metadata: Metadata =
        serde_json::from_str(&text).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    let ends = metadata
        .tensors()
        .into_values()
        .map(|info| info.data_offsets.1);
    match ends.max().unwrap_or(0) == rest.len() - length {
        true => Ok((size_of::<u64>() + length, metadata)),
        false => Err(SafeTensorError::MetadataIncompleteBuffer),
    }
}
