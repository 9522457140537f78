//! Goldens, read.

#![allow(dead_code, clippy::unwrap_used)] // not every test needs all

use std::{fs, path::PathBuf};

use blip2_core::model::PromptRows;
use blip2_train::objective::Batch;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

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

/// The batch that the fixture's own goldens were made of.
pub(crate) fn batch(model: &str) -> Batch {
    let bytes = fs::read(models().join(model).join("golden.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let get = |name: &str| tensors.tensor(name).unwrap();
    let ids = integers(&get("input_ids")).into_iter();
    let mask = integers(&get("attention_mask")).into_iter();
    let pixel_values = get("pixel_values");
    Batch {
        pictures: (0..pixel_values.shape()[0]).collect(),
        pixel_values: Tensor::from_data(data(&pixel_values), &Device::flex()),
        rows: PromptRows::new(
            ids.map(|row| row.into_iter().map(|id| id as u32).collect())
                .collect(),
            mask.map(|row| row.into_iter().map(|bit| bit != 0).collect())
                .collect(),
        )
        .unwrap(),
        instructions: None,
        labels: integers(&get("labels")),
    }
}
