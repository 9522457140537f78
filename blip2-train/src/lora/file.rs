//! Adapters on disk, as PEFT has them.

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::TensorData;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::{Adapter, Lora, config::LoraConfig};
use crate::{
    error::TrainError,
    files::{floats, write_file, write_tensors},
};

/// What PEFT puts before the names of a model's modules.
const PREFIX: &str = "base_model.model.";
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

/// What of PEFT's adapters is not understood here, and would be wrong if it were passed over: a key
/// of `adapter_config.json` with any other value than its usual one.
const USUAL: [(&str, &[&str]); 9] = [
    ("peft_type", &["\"LORA\""]),
    ("bias", &["\"none\""]),
    ("use_dora", &["false"]),
    ("fan_in_fan_out", &["false"]),
    ("lora_bias", &["false"]),
    ("modules_to_save", &["null", "[]"]),
    ("rank_pattern", &["null", "{}"]),
    ("alpha_pattern", &["null", "{}"]),
    ("layer_replication", &["null", "[]"]),
];

impl Lora {
    /// Adapters that PEFT or [`Trained::save_lora`](crate::Trained::save_lora) saved.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file and what is wrong with it.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, TrainError> {
        let folder = folder.as_ref();
        let config = read_config(&folder.join(CONFIG))?;
        let adapters = read_weights(&folder.join(WEIGHTS))?;
        Self::of(config, adapters)
    }
}

fn read_config(path: &Path) -> Result<LoraConfig, TrainError> {
    let text = fs::read(path).map_err(|error| TrainError::file(path, error))?;
    let keys: Value =
        serde_json::from_slice(&text).map_err(|error| TrainError::format(path, error))?;
    for (key, usual) in USUAL {
        let unusual = keys.get(key).map(Value::to_string);
        if let Some(value) = unusual.filter(|value| !usual.contains(&value.as_str())) {
            let reason = format!("`{key}` is {value}, which is not supported");
            return Err(TrainError::state(path, reason));
        }
    }
    serde_json::from_value(keys).map_err(|error| TrainError::format(path, error))
}

fn read_weights(path: &Path) -> Result<BTreeMap<String, Adapter>, TrainError> {
    let bytes = fs::read(path).map_err(|error| TrainError::file(path, error))?;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|error| TrainError::format(path, error))?;
    let mut halves: BTreeMap<String, [Option<TensorData>; 2]> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let fault = |reason: &str| TrainError::state(path, format!("`{name}` {reason}"));
        let own = name.strip_prefix(PREFIX).unwrap_or(name);
        let (layer, half) = match (
            own.strip_suffix(".lora_A.weight"),
            own.strip_suffix(".lora_B.weight"),
        ) {
            (Some(layer), _) => (layer, 0),
            (_, Some(layer)) => (layer, 1),
            _ => return Err(fault("is no adapter of a linear layer")),
        };
        let data = floats(&view).ok_or_else(|| fault("holds no numbers of 16 or 32 bits"))?;
        halves.entry(layer.to_string()).or_default()[half] = Some(data);
    }
    let whole = halves.into_iter().map(|(layer, half)| match half {
        [Some(a), Some(b)] => Ok((layer, Adapter { a, b })),
        _ => {
            let reason = format!("`{layer}` has only one of lora_A and lora_B");
            Err(TrainError::state(path, reason))
        }
    });
    whole.collect()
}

/// Writes adapters as PEFT does. `base` is the name of the model that they adapt.
pub(crate) fn save(
    folder: &Path,
    config: &LoraConfig,
    adapters: &BTreeMap<String, TensorData>,
    base: &str,
) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
    let named = adapters
        .iter()
        .map(|(name, data)| (format!("{PREFIX}{name}"), data));
    write_tensors(&folder.join(WEIGHTS), named, None)?;
    let layers: Vec<&str> = adapters
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
        "modules_to_save": null,
        "use_dora": false,
    });
    let own = json!(config.for_peft(&layers));
    for (key, value) in own.as_object().into_iter().flatten() {
        text[key] = value.clone();
    }
    write_file(&folder.join(CONFIG), format!("{text:#}\n").as_bytes())
}
