//! Tensors of a safetensors file as a test reads them.

use burn::tensor::TensorData;
use safetensors::{Dtype, tensor::TensorView};

/// The elements of a tensor of `f32`.
#[track_caller]
pub fn floats(view: &TensorView<'_>) -> Vec<f32> {
    assert_eq!(view.dtype(), Dtype::F32);
    let (values, _) = view.data().as_chunks::<4>();
    values
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect()
}

/// The elements of a tensor of `i64`.
#[track_caller]
pub fn integers(view: &TensorView<'_>) -> Vec<i64> {
    assert_eq!(view.dtype(), Dtype::I64);
    let (values, _) = view.data().as_chunks::<8>();
    values
        .iter()
        .map(|value| i64::from_le_bytes(*value))
        .collect()
}

/// The rows of a matrix of `i64`.
#[track_caller]
pub fn integer_rows(view: &TensorView<'_>) -> Vec<Vec<i64>> {
    let rows = integers(view);
    rows.chunks(view.shape()[1]).map(<[i64]>::to_vec).collect()
}

/// A tensor of `f32` as Burn's data.
#[track_caller]
pub fn data(view: &TensorView<'_>) -> TensorData {
    TensorData::new(floats(view), view.shape().to_vec())
}
