//! Adapters on disk, as PEFT has them.

use std::{collections::BTreeMap, fs, path::Path};

use blip2_io::AdapterBias;
use blip2_kernels::LowRankData;
use burn::tensor::TensorData;
use serde_json::{Value, json};

use super::{Adapter, Chosen, Lora, config::LoraConfig};
use crate::{
    error::TrainError,
    files::{write_file, write_tensors},
};

/// What PEFT puts before the names of a model's modules.
const PREFIX: &str = "base_model.model.";
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

impl Lora {
    /// Adapters that PEFT or [`Trained::save_lora`](crate::Trained::save_lora) saved, in a folder or,
    /// by an id of the hub, in its cache.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file and what is wrong with it, or what of it cannot be trained.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, TrainError> {
        let saved = blip2_io::Adapter::open(folder)?;
        check_plain(&saved)?;
        let mut adapters = BTreeMap::new();
        for layer in saved.layers() {
            // Of which shape the layer is, the model says when it is built.
            let shape = saved.shape(layer).unwrap_or_default();
            let LowRankData { a, b, .. } = saved.low_rank(layer, shape)?;
            let magnitude = saved.magnitude(layer, shape[0])?;
            adapters.insert(layer.to_string(), Adapter { a, b, magnitude });
        }
        let lora = Self::of(LoraConfig::of_saved(saved.config()), adapters)?;
        Ok(Self {
            saved: Some(saved),
            ..lora
        })
    }
}

/// Refuses what inference puts on and training would lose when it saves.
fn check_plain(saved: &blip2_io::Adapter) -> Result<(), TrainError> {
    match saved.config().bias {
        AdapterBias::None => Ok(()),
        _ => {
            let reason = "`bias` is used, which is not supported in training";
            Err(TrainError::state(&saved.path().join(CONFIG), reason))
        }
    }
}

/// Writes adapters, and what was trained whole beside them, as PEFT does. `base` is the name of the model
/// that they adapt, `all` are its linear layers, and `modules` are those that were trained whole.
pub(crate) fn save(
    folder: &Path,
    chosen: &Chosen,
    all: &[&str],
    values: &BTreeMap<String, TensorData>,
    modules: &[String],
    base: &str,
) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
    let named = values
        .iter()
        .map(|(name, data)| (format!("{PREFIX}{name}"), data));
    write_tensors(&folder.join(WEIGHTS), named, None)?;
    let layers: Vec<&str> = values
        .keys()
        .filter_map(|name| name.strip_suffix(".lora_A.weight"))
        .collect();
    let mut text: Value = json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": base,
        "inference_mode": true,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "modules_to_save": (!modules.is_empty()).then_some(modules),
    });
    let own = chosen.for_peft(&layers, all);
    for (key, value) in json!(own).as_object().into_iter().flatten() {
        text[key] = value.clone();
    }
    // PEFT has objects of these, in whose order they are looked through.
    text["rank_pattern"] = own.rank_pattern.into_iter().collect::<Value>();
    text["alpha_pattern"] = own.alpha_pattern.into_iter().collect::<Value>();
    if own.layers_to_transform.is_empty() {
        text["layers_to_transform"] = Value::Null;
    }
    write_file(&folder.join(CONFIG), format!("{text:#}\n").as_bytes())
}
