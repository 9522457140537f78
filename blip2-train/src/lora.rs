//! Low-rank adapters, as PEFT knows them.

use std::{collections::BTreeMap, fs, path::Path};

use blip2_kernels::LowRankData;
use burn::tensor::{DType, TensorData};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use safetensors::{SafeTensors, tensor::TensorView};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::TrainError;

/// What PEFT puts before the names of a model's modules.
const PREFIX: &str = "base_model.model.";
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

/// Which layers are adapted, and how (`LoraConfig` of PEFT; Hu et al., 2021).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// The rank of the adapters.
    pub r: usize,
    /// What an adapter adds is multiplied by `lora_alpha / r`.
    #[serde(default = "usual_alpha")]
    pub lora_alpha: f64,
    /// The part of the input's numbers that is left out in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// The layers: whole names, or the last parts of names, as in `q_proj`.
    #[serde(deserialize_with = "one_or_many")]
    pub target_modules: Vec<String>,
    /// What an adapter adds is multiplied by `lora_alpha / √r` (Kalajdzievski, 2023).
    #[serde(default)]
    pub use_rslora: bool,
}

/// PEFT's own default.
fn usual_alpha() -> f64 {
    8.0
}

/// PEFT writes a pattern as a text alone.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Targets {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Targets::deserialize(deserializer)? {
        Targets::One(one) => vec![one],
        Targets::Many(many) => many,
    })
}

/// What of PEFT's adapters is not understood here, and would be if it were passed over: a key of
/// `adapter_config.json` with any other value than its usual one.
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

/// Adapters of a model: new ones, or saved ones.
#[derive(Debug, Clone)]
pub struct Lora {
    config: LoraConfig,
    start: Start,
}

#[derive(Debug, Clone)]
enum Start {
    Fresh {
        seed: u64,
    },
    /// By the layer's name.
    Saved(BTreeMap<String, Pair>),
}

#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) a: TensorData,
    pub(crate) b: TensorData,
}

impl LoraConfig {
    /// Adapters of rank `r` on these layers, with `alpha = r` and no dropout.
    pub fn new<T: Into<String>>(r: usize, target_modules: impl IntoIterator<Item = T>) -> Self {
        Self {
            r,
            lora_alpha: r as f64,
            lora_dropout: 0.0,
            target_modules: target_modules.into_iter().map(Into::into).collect(),
            use_rslora: false,
        }
    }

    /// What an adapter adds is multiplied by this.
    pub fn scale(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Multiplies what adapters add by `alpha / r`.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.lora_alpha = alpha;
        self
    }

    /// Leaves this part of the input's numbers out in training.
    #[must_use]
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.lora_dropout = dropout;
        self
    }

    /// Whether a layer is adapted.
    pub fn targets(&self, layer: &str) -> bool {
        self.target_modules.iter().any(|target| {
            let rest = layer.strip_suffix(target.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }

    pub(crate) fn validate(&self) -> Result<(), TrainError> {
        if self.r == 0 {
            return Err(TrainError::argument("r", 0, "must be at least 1"));
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            let reason = "must be at least 0 and below 1";
            return Err(TrainError::argument(
                "lora_dropout",
                self.lora_dropout,
                reason,
            ));
        }
        if self.target_modules.is_empty() {
            let reason = "names no layer; name some, such as `q_proj`";
            return Err(TrainError::argument("target_modules", "[]", reason));
        }
        Ok(())
    }
}

impl Lora {
    /// New adapters, which add nothing yet: `A` is uniform as PEFT has it, and `B` is zero. The
    /// same seed makes the same ones, in whatever order the model is built.
    ///
    /// # Errors
    ///
    /// [`TrainError::Argument`] for a configuration that makes no sense.
    pub fn fresh(config: LoraConfig, seed: u64) -> Result<Self, TrainError> {
        config.validate()?;
        let start = Start::Fresh { seed };
        Ok(Self { config, start })
    }

    /// Adapters of these numbers, `A` and `B` by the layer's name: `[r, in]` and `[out, r]`.
    ///
    /// # Errors
    ///
    /// As [`fresh`](Self::fresh).
    pub fn of(
        config: LoraConfig,
        adapters: impl IntoIterator<Item = (String, [TensorData; 2])>,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        let pairs = adapters
            .into_iter()
            .map(|(name, [a, b])| (name, Pair { a, b }));
        let start = Start::Saved(pairs.collect());
        Ok(Self { config, start })
    }

    /// Adapters that PEFT or [`Trained::save_lora`](crate::Trained::save_lora) saved.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file and what is wrong with it.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, TrainError> {
        let folder = folder.as_ref();
        let path = folder.join(CONFIG);
        let text = fs::read(&path).map_err(|error| TrainError::file(&path, error))?;
        let keys: Value =
            serde_json::from_slice(&text).map_err(|error| TrainError::state(&path, error))?;
        for (key, usual) in USUAL {
            let unusual = keys.get(key).map(Value::to_string);
            if let Some(value) = unusual.filter(|value| !usual.contains(&value.as_str())) {
                let reason = format!("`{key}` is {value}, which is not supported");
                return Err(TrainError::state(&path, reason));
            }
        }
        let config: LoraConfig =
            serde_json::from_value(keys).map_err(|error| TrainError::state(&path, error))?;
        config.validate()?;
        let path = folder.join(WEIGHTS);
        let bytes = fs::read(&path).map_err(|error| TrainError::file(&path, error))?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| TrainError::state(&path, error))?;
        let mut halves: BTreeMap<String, [Option<TensorData>; 2]> = BTreeMap::new();
        for (name, view) in tensors.iter() {
            let fault = |reason: &str| TrainError::state(&path, format!("`{name}` {reason}"));
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
        let mut pairs = BTreeMap::new();
        for (layer, half) in halves {
            let [Some(a), Some(b)] = half else {
                let reason = format!("`{layer}` has only one of lora_A and lora_B");
                return Err(TrainError::state(&path, reason));
            };
            pairs.insert(layer, Pair { a, b });
        }
        let start = Start::Saved(pairs);
        Ok(Self { config, start })
    }

    /// How they adapt.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Whether the adapters are new ones, for the layers that their configuration names.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.start, Start::Fresh { .. })
    }

    /// The layers of saved adapters, for which the model must have a place.
    pub(crate) fn saved_layers(&self) -> impl Iterator<Item = &str> {
        let saved = match &self.start {
            Start::Saved(pairs) => Some(pairs),
            Start::Fresh { .. } => None,
        };
        saved
            .into_iter()
            .flat_map(|pairs| pairs.keys().map(String::as_str))
    }

    /// What the factor of all adapters is.
    pub(crate) fn scale(&self) -> f64 {
        self.config.scale()
    }

    /// The adapter of a layer, if it is adapted and of this shape.
    pub(crate) fn data(&self, layer: &str, [outputs, inputs]: [usize; 2]) -> Option<LowRankData> {
        let r = self.config.r;
        let (a, b) = match &self.start {
            Start::Fresh { seed } => {
                if !self.config.targets(layer) {
                    return None;
                }
                let bound = (inputs as f32).sqrt().recip();
                let a = uniform(r * inputs, bound, *seed, layer);
                let b = vec![0f32; outputs * r];
                (
                    TensorData::new(a, [r, inputs]),
                    TensorData::new(b, [outputs, r]),
                )
            }
            Start::Saved(pairs) => {
                let Pair { a, b } = pairs.get(layer)?;
                if **a.shape() != [r, inputs] || **b.shape() != [outputs, r] {
                    return None;
                }
                (a.clone(), b.clone())
            }
        };
        Some(LowRankData {
            a,
            b,
            scale: self.scale(),
            dropout: self.config.lora_dropout,
        })
    }
}

/// Numbers between −bound and bound that follow from the seed and the layer's name.
fn uniform(count: usize, bound: f32, seed: u64, layer: &str) -> Vec<f32> {
    // FNV-1a: any hash will do that is the same everywhere.
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ seed;
    for byte in layer.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut random = ChaCha8Rng::seed_from_u64(hash);
    let mut next = || {
        // 24 bits are all that an `f32` holds of a number in [0, 1).
        let unit = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
        (2.0 * unit - 1.0) * bound
    };
    (0..count).map(|_| next()).collect()
}

/// A tensor's numbers in `f32`.
pub(crate) fn floats(view: &TensorView<'_>) -> Option<TensorData> {
    use safetensors::Dtype;
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        _ => return None,
    };
    let bytes = burn::tensor::Bytes::from_bytes_vec(view.data().to_vec());
    let data = TensorData::from_bytes(bytes, view.shape().to_vec(), dtype);
    Some(data.convert_dtype(DType::F32))
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
    crate::state::write_tensors(&folder.join(WEIGHTS), named, None)?;
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
    for (key, value) in json!(config).as_object().into_iter().flatten() {
        text[key] = value.clone();
    }
    crate::state::write_file(&folder.join(CONFIG), format!("{text:#}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_whole_parts_of_names() {
        let config = LoraConfig::new(4, ["q_proj", "qformer.encoder.layer.0.attention.query"]);
        assert!(config.targets("language_model.layers.0.self_attn.q_proj"));
        assert!(config.targets("q_proj"));
        assert!(!config.targets("language_model.layers.0.self_attn.seq_proj"));
        assert!(config.targets("qformer.encoder.layer.0.attention.query"));
        assert!(!config.targets("other_qformer.encoder.layer.0.attention.query"));
    }

    #[test]
    fn fresh_adapters_follow_from_seed_and_name() {
        let lora = |seed| Lora::fresh(LoraConfig::new(2, ["q"]), seed).unwrap();
        let a = |seed, layer: &str| lora(seed).data(layer, [3, 4]).unwrap().a;
        assert_eq!(a(0, "x.q"), a(0, "x.q"));
        assert_ne!(a(0, "x.q"), a(0, "y.q"));
        assert_ne!(a(0, "x.q"), a(1, "x.q"));
        assert!(lora(0).data("x.k", [3, 4]).is_none());
        let values = a(0, "x.q").try_into_vec::<f32>().unwrap();
        assert!(values.iter().all(|x| x.abs() <= 0.5) && values.iter().any(|x| *x != 0.0));
    }

    #[test]
    fn configurations_that_make_no_sense_are_refused() {
        for config in [
            LoraConfig::new(0, ["q"]),
            LoraConfig::new(1, [] as [&str; 0]),
            LoraConfig::new(1, ["q"]).dropout(1.0),
        ] {
            assert!(Lora::fresh(config, 0).is_err());
        }
    }
}
