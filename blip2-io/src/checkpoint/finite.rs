//! The search for NaN and infinity.

use burn::tensor::DType;

use super::Checkpoint;
use crate::error::IoError;

impl Checkpoint {
    /// Searches for NaN and infinity in every tensor of floats. Reads all of them, at the speed of
    /// the disk, and copies nothing.
    ///
    /// # Errors
    ///
    /// [`IoError::NotFinite`] naming the first tensor, in the order of names, that holds one.
    pub fn verify_finite(&self) -> Result<(), IoError> {
        for (name, entry) in &self.tensors {
            // Packed integers are all finite, and their scales came from numbers that were.
            if entry.packed.is_some() {
                continue;
            }
            let read = |error| IoError::read(self.file_of(name).unwrap_or(&self.folder), error);
            let is_finite = all_finite(&self.bytes(entry).map_err(read)?, entry.dtype);
            // Nobody reads them again soon.
            self.release(name);
            if !is_finite {
                let (path, tensor) = (self.folder.clone(), name.clone());
                return Err(IoError::NotFinite { path, tensor });
            }
        }
        Ok(())
    }
}

/// Whether no number in `bytes` (little-endian, as in every safetensors file) has all bits of its
/// exponent set, which is how NaN and infinity are written.
fn all_finite(bytes: &[u8], dtype: DType) -> bool {
    match dtype {
        DType::F64 => no_exponent_is_full::<8>(bytes, [0xf0, 0x7f]),
        DType::F32 => no_exponent_is_full::<4>(bytes, [0x80, 0x7f]),
        DType::BF16 => no_exponent_is_full::<2>(bytes, [0x80, 0x7f]),
        DType::F16 => no_exponent_is_full::<2>(bytes, [0x00, 0x7c]),
        _ => true,
    }
}

/// Of each number of `N` bytes only the two highest hold the exponent.
fn no_exponent_is_full<const N: usize>(bytes: &[u8], [low, high]: [u8; 2]) -> bool {
    // Masks over bytes, not floats: no conversion, so that the compiler vectorises it and the disk
    // is what it waits for.
    let (numbers, _) = bytes.as_chunks::<N>();
    numbers
        .iter()
        .all(|number| number[N - 2] & low != low || number[N - 1] & high != high)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn only_nan_and_infinity_are_found() {
        for value in [f32::MAX, f32::MIN_POSITIVE, -0.0, 1.0, 65504.0] {
            assert!(all_finite(&value.to_le_bytes(), DType::F32));
            assert!(all_finite(&f64::from(value).to_le_bytes(), DType::F64));
        }
        assert!(all_finite(&bf16::MAX.to_le_bytes(), DType::BF16));
        assert!(all_finite(&f16::MAX.to_le_bytes(), DType::F16));
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!all_finite(&value.to_le_bytes(), DType::F32));
            assert!(!all_finite(&f64::from(value).to_le_bytes(), DType::F64));
            assert!(!all_finite(
                &bf16::from_f32(value).to_le_bytes(),
                DType::BF16
            ));
            assert!(!all_finite(&f16::from_f32(value).to_le_bytes(), DType::F16));
        }
    }
}
