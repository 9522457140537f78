//! A packed matrix in the memory of a device.

use std::sync::Arc;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::matrix::packed::{PackedFormat, PackedMatrix};

/// A matrix `[outputs, inputs]` that lies packed in a device's memory, in the same
/// [layout](PackedMatrix#layout) and with the same numbers as on a processor. Cloning shares it.
#[derive(Debug, Clone)]
pub struct DeviceMatrix {
    format: PackedFormat,
    outputs: usize,
    inputs: usize,
    words: Tensor<1, Int>,
    /// As [`half_factor`](Self::half_factor).
    half_factor: Option<f32>,
}

impl DeviceMatrix {
    /// Copies a matrix to `device`. `None` for a format that its kernels do not read, see
    /// [`reads`](Self::reads), and for no elements at all.
    pub(crate) fn new(matrix: &PackedMatrix, device: &Device) -> Option<Self> {
        if !Self::reads(matrix.format()) || matrix.bytes().is_empty() {
            return None;
        }
        let words = matrix.bytes().as_chunks::<4>().0.iter();
        let words: Vec<u32> = words.map(|&word| u32::from_le_bytes(word)).collect();
        let half_factor = match matrix.format() {
            PackedFormat::Bf16 => half_factor(&words),
            _ => None,
        };
        let data = TensorData::new(words, [matrix.bytes().len() / 4]);
        Some(Self {
            half_factor,
            format: matrix.format(),
            outputs: matrix.outputs(),
            inputs: matrix.inputs(),
            words: Tensor::from_data(data, (device, DType::U32)),
        })
    }

    /// Whether a device's kernels read a format packed. The others are tensors there.
    pub(crate) fn reads(format: PackedFormat) -> bool {
        use PackedFormat::{Bf16, Bf16Exact, F16, F32, Int4, Int8};
        match format {
            Bf16 | Bf16Exact | Int8 | Int4 => true,
            F32 | F16 => false,
        }
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number format.
    pub fn format(&self) -> PackedFormat {
        self.format
    }

    /// The device that holds it.
    pub(crate) fn device(&self) -> Device {
        self.words.device()
    }

    /// Of brain floats that are multiplied with rounded activations, the power of two by which they come into
    /// the range of `f16`, where those keep all their digits: what is then lost of the smallest is less than 2⁻³⁸
    /// of the largest, or 2⁻²⁸ on a device that takes the smallest numbers of `f16` for zero. `None` for other
    /// formats, and where a number is infinite or none.
    pub(crate) fn half_factor(&self) -> Option<f32> {
        self.half_factor
    }

    /// The matrix in this processor's memory.
    pub(crate) fn to_host(&self) -> Option<PackedMatrix> {
        let words = self.words.to_data().convert_dtype(DType::U32);
        let words = words.try_into_vec::<u32>().ok()?;
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        PackedMatrix::from_bytes(self.format, self.outputs, self.inputs, Arc::new(bytes)).ok()
    }

    /// What kernels read: the words of the layout.
    pub(crate) fn words(&self) -> &Tensor<1, Int> {
        &self.words
    }
}

/// As [`DeviceMatrix::half_factor`], of two brain floats in each word.
fn half_factor(words: &[u32]) -> Option<f32> {
    // Without their signs they are in the order of their bits, of which seven are digits.
    let largest = words
        .iter()
        .map(|word| (word & 0x7fff).max(word >> 16 & 0x7fff))
        .max()?;
    let exponent = largest >> 7;
    // 2¹⁴, which is 141 with the bias, is the largest power of two whose double `f16` still has. The inverse is
    // to be a normal number, too.
    (exponent < 255).then(|| f32::from_bits((268 - exponent.max(15)) << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_brain_float_decides() {
        let words = |x: f32| [0, x.to_bits() >> 16, 0x8000_0000];
        for (largest, expected) in [(1.0, 14), (1.99, 14), (-0.02, 20), (3e38, -113), (0.0, 126)] {
            let found = half_factor(&words(largest)).unwrap();
            assert_eq!(found, 2f32.powi(expected), "{largest}");
            assert!((largest * found).abs() < 65504.0 && (1.0 / found).is_normal());
        }
        assert_eq!(half_factor(&words(f32::INFINITY)), None);
        assert_eq!(half_factor(&words(f32::NAN)), None);
        assert_eq!(
            half_factor(&[(2f32.to_bits() >> 16 << 16) + 0x3f80]),
            Some(2f32.powi(13))
        );
    }
}
