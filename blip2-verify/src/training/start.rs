//! What a training begins with: the batch, and what of the checkpoint is trained.

use std::collections::BTreeSet;

use blip2_core::CheckpointFolder;
use blip2_train::{Adapter, Lora, LoraConfig, Training, objective::Batch};
use burn::tensor::TensorData;
use serde_json::Value;

use crate::{
    error::VerifyError,
    golden::Golden,
    options::VerifyOptions,
    rows::{frames, rows},
};

/// What of the checkpoint the golden trains.
pub(super) fn training(
    base: &CheckpointFolder,
    golden: &Golden,
    options: &VerifyOptions,
) -> Result<Training, VerifyError> {
    let mut training = Training::of(base)?
        .device(options.device.clone())
        .precision(options.precision);
    let idle = untouched(golden);
    let trained = |name: &String| !is_adapter(name) && !idle.contains(name);
    for name in names(golden, "final.").into_iter().filter(trained) {
        training = training.part(name);
    }
    Ok(match adapters(golden)? {
        Some(lora) => training.adapters(lora),
        None => training,
    })
}

/// The batch that the checkpoint's own goldens were made of.
pub(super) fn batch(given: &Golden, options: &VerifyOptions) -> Result<Batch, VerifyError> {
    let missing = |what: &str| {
        let detail = format!("the checkpoint's own goldens have no {what} to train on");
        VerifyError::golden(detail)
    };
    let pixels = given.tensor("pixel_values");
    let pixels = frames(pixels.ok_or_else(|| missing("pixel_values"))?);
    let read = rows(given, "input_ids", "attention_mask")?;
    let read = read.ok_or_else(|| missing("input_ids"))?;
    let labels = given.tensor("labels").ok_or_else(|| missing("labels"))?;
    Ok(Batch {
        pixel_values: pixels.tensor(&options.device)?,
        pictures: (0..read.len()).collect(),
        instructions: rows(given, "qformer_input_ids", "qformer_attention_mask")?,
        rows: read,
        labels: labels.rows()?,
    })
}

/// The adapters that the training begins with.
fn adapters(golden: &Golden) -> Result<Option<Lora>, VerifyError> {
    let mut starts = Vec::new();
    for key in golden.tensor_keys() {
        let layer = key.strip_prefix("init.");
        let Some(layer) = layer.and_then(|layer| layer.strip_suffix(".lora_A")) else {
            continue;
        };
        let last = golden.tensor(&format!("final.{layer}.lora_B"));
        let (Some(a), Some(b)) = (golden.tensor(key), last) else {
            let detail = format!("there is no final.{layer}.lora_B");
            return Err(VerifyError::golden(detail));
        };
        let (&[r, _], &[outputs, _]) = (&a.shape[..], &b.shape[..]) else {
            return Err(VerifyError::golden(format!("{key} is no matrix")));
        };
        let a = TensorData::new(a.floats()?, a.shape.clone());
        let b = TensorData::new(vec![0f32; outputs * r], [outputs, r]);
        starts.push((
            r,
            layer.to_string(),
            Adapter {
                a,
                b,
                magnitude: None,
            },
        ));
    }
    let Some(&(r, ..)) = starts.first() else {
        return Ok(None);
    };
    let lora = golden.json("lora");
    let alpha = lora.and_then(|lora| lora.get("alpha")?.as_f64());
    let alpha = alpha.ok_or_else(|| VerifyError::golden("`lora` has no `alpha`"))?;
    let layers: BTreeSet<String> = starts.iter().map(|(_, layer, _)| layer.clone()).collect();
    let config = LoraConfig::new(r, layers).with_alpha(alpha);
    let starts = starts.into_iter().map(|(_, layer, start)| (layer, start));
    Ok(Some(Lora::of(config, starts)?))
}

/// The names of goldens behind a prefix.
pub(super) fn names(golden: &Golden, prefix: &str) -> Vec<String> {
    let keys = golden.tensor_keys();
    keys.filter_map(|key| Some(key.strip_prefix(prefix)?.to_string()))
        .collect()
}

/// What the reference has and no loss depends on, so that no step changes it: a bias beside the one that an untied
/// head has, which the model may not even have here.
pub(super) fn untouched(golden: &Golden) -> BTreeSet<String> {
    let names = golden.json("no_grad_params").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_string).collect()
}

/// Whether a golden is of an adapter's matrix.
pub(super) fn is_adapter(name: &str) -> bool {
    name.ends_with(".lora_A") || name.ends_with(".lora_B")
}
