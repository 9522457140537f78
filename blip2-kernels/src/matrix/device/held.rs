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
        let data = TensorData::new(words, [matrix.bytes().len() / 4]);
        Some(Self {
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
