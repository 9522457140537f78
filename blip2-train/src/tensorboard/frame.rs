//! Records of a file of TensorFlow's: a length, what is in it, and a checksum of each.

/// A checksum (CRC-32C), rotated and moved, since one of what holds checksums would be weak.
fn masked(bytes: &[u8]) -> [u8; 4] {
    let sum = crc32c::crc32c(bytes);
    sum.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The record of some bytes.
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend(length);
    record.extend(masked(&length));
    record.extend(bytes);
    record.extend(masked(bytes));
    record
}
