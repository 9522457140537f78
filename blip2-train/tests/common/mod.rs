//! Goldens, read.

#![allow(dead_code, clippy::unwrap_used)] // not every test needs all

pub(crate) mod threads;
pub(crate) mod tiny;

use std::{fs, path::PathBuf};

use blip2_core::model::PromptRows;
use blip2_testing::{
    fixture,
    view::{floats, integer_rows},
};
use blip2_train::objective::Batch;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

/// The models that the other crates are tested with.
pub(crate) fn models() -> PathBuf {
    fixture("")
}

/// A folder of goldens.
pub(crate) fn goldens(name: &str) -> PathBuf {
    fixture("train").join(name)
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
        let ids = integer_rows(&get(&format!("{prefix}input_ids"))).into_iter();
        let mask = integer_rows(&get(&format!("{prefix}attention_mask"))).into_iter();
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
        labels: integer_rows(&get("labels")),
    }
}
