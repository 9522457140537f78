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

/// The batch that the fixture's own goldens were made of; of a video its frames follow one another.
pub(crate) fn batch(model: &str) -> Batch {
    batch_on(model, &Device::flex())
}

/// The same on another device.
pub(crate) fn batch_on(model: &str, device: &Device) -> Batch {
    let bytes = fs::read(models().join(model).join("golden.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let get = |name: &str| tensors.tensor(name).unwrap();
    let rows = |prefix: &str| {
        let ids = integers(&get(&format!("{prefix}input_ids"))).into_iter();
        let mask = integers(&get(&format!("{prefix}attention_mask"))).into_iter();
        PromptRows::new(
            ids.map(|row| row.into_iter().map(|id| id as u32).collect())
                .collect(),
            mask.map(|row| row.into_iter().map(|bit| bit != 0).collect())
                .collect(),
        )
        .unwrap()
    };
    let pixel_values = get("pixel_values");
    let shape = pixel_values.shape();
    let size: [usize; 3] = shape[shape.len() - 3..].try_into().unwrap();
    let frames: usize = shape[..shape.len() - 3].iter().product();
    let instructed = tensors.tensor("qformer_input_ids").is_ok();
    let rows_of = rows("");
    Batch {
        pictures: (0..rows_of.len()).collect(),
        pixel_values: Tensor::from_data(
            TensorData::new(floats(&pixel_values), [frames, size[0], size[1], size[2]]),
            device,
        ),
        rows: rows_of,
        instructions: instructed.then(|| rows("qformer_")),
        labels: integers(&get("labels")),
    }
}
