//! Goldens, read.

#![allow(dead_code)] // not every test needs all

use std::path::PathBuf;

use burn::tensor::TensorData;
use safetensors::{Dtype, tensor::TensorView};

/// The models that the other crates are tested with.
pub(crate) fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../blip2-core/tests/fixtures")
}

/// A folder of goldens.
pub(crate) fn goldens(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub(crate) fn floats(view: &TensorView<'_>) -> Vec<f32> {
    assert_eq!(view.dtype(), Dtype::F32);
    let (bytes, _) = view.data().as_chunks::<4>();
    bytes
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

pub(crate) fn data(view: &TensorView<'_>) -> TensorData {
    TensorData::new(floats(view), view.shape().to_vec())
}

pub(crate) fn integers(view: &TensorView<'_>) -> Vec<Vec<i64>> {
    assert_eq!(view.dtype(), Dtype::I64);
    let (bytes, _) = view.data().as_chunks::<8>();
    let flat: Vec<i64> = bytes
        .iter()
        .map(|bytes| i64::from_le_bytes(*bytes))
        .collect();
    flat.chunks(view.shape()[1]).map(<[i64]>::to_vec).collect()
}

/// The largest difference, and how large the expected numbers are.
pub(crate) fn difference(found: &[f32], expected: &[f32]) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
    (
        pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs())),
        largest,
    )
}
