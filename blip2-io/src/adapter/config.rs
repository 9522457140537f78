//! What `adapter_config.json` says.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{
    fault::Fault,
    pattern::{LayerPattern, MOST},
};
use crate::{error::IoError, files::parse_json};

/// What an adapter is, by the names of PEFT's `LoraConfig`.
///
/// Which layers are adapted is told by the tensors beside it; `target_modules` only says what was
/// asked for when it was trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct AdapterConfig {
    /// The model that it was trained on: a folder, or an id of the hub.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// The revision of that model.
    #[serde(default)]
    pub revision: Option<String>,
    /// The rank. Default 8.
    #[serde(default = "usual")]
    pub r: usize,
    /// What the two matrices add is multiplied by `lora_alpha / r`. Default 8.
    #[serde(default = "usual_alpha")]
    pub lora_alpha: f64,
    /// The part of the inputs that training left out.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Multiplies by `lora_alpha / √r` in place of `lora_alpha / r` (Kalajdzievski, 2023).
    #[serde(default)]
    pub use_rslora: bool,
    /// Adapts the matrices' directions alone and trains their rows' lengths (DoRA; Liu et al., 2024).
    #[serde(default)]
    pub use_dora: bool,
    /// The layers that were asked for.
    #[serde(default)]
    pub target_modules: Option<TargetModules>,
    /// The layers among them that were left out.
    #[serde(default)]
    pub exclude_modules: Option<TargetModules>,
    /// The numbers of the blocks whose layers were asked for; all, where there is none.
    #[serde(default, deserialize_with = "one_or_many")]
    pub layers_to_transform: Vec<usize>,
    /// What stands before those numbers in the names of layers; anything, where there is none.
    #[serde(default, deserialize_with = "one_or_many")]
    pub layers_pattern: Vec<String>,
    /// Layers of other ranks.
    #[serde(default, deserialize_with = "pairs")]
    pub rank_pattern: Vec<(String, usize)>,
    /// Layers of other `lora_alpha`s.
    #[serde(default, deserialize_with = "pairs")]
    pub alpha_pattern: Vec<(String, f64)>,
    /// Which biases were trained: `none`, `all` or `lora_only`.
    #[serde(default)]
    pub bias: AdapterBias,
    /// Modules that were trained whole; the adapter holds all of their tensors.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
}

/// Layers, as PEFT's `target_modules` says them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum TargetModules {
    /// A regular expression for whole names, or `all-linear`.
    Expression(String),
    /// Ends of names.
    Names(Vec<String>),
}

/// Which biases an adapter holds beside its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdapterBias {
    /// None.
    #[default]
    None,
    /// Those of the whole model.
    All,
    /// Those of the adapted layers.
    LoraOnly,
}

fn usual() -> usize {
    8
}

fn usual_alpha() -> f64 {
    8.0
}

/// A table in the order in which it is written: the first key that matches counts.
fn pairs<'de, T, D>(deserializer: D) -> Result<Vec<(String, T)>, D::Error>
where
    T: serde::de::DeserializeOwned,
    D: Deserializer<'de>,
{
    let table = Option::<Map<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    let pair = |(key, value)| {
        let value = serde_json::from_value(value).map_err(serde::de::Error::custom)?;
        Ok((key, value))
    };
    table.into_iter().map(pair).collect()
}

/// PEFT writes one alone, a list, or nothing.
fn one_or_many<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: serde::de::DeserializeOwned,
    D: Deserializer<'de>,
{
    let items = match Value::deserialize(deserializer)? {
        Value::Null => Vec::new(),
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::Array(items) => items,
        one => vec![one],
    };
    let items = items.into_iter().map(serde_json::from_value);
    items
        .collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}

/// What the struct above reads.
const READ: [&str; 15] = [
    "base_model_name_or_path",
    "revision",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "use_dora",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "modules_to_save",
];

/// What changes nothing of what an adapter of saved tensors computes: how it was trained, and who wrote
/// it. `fan_in_fan_out` speaks of base layers that lie transposed, of
/// which this family has none; PEFT too passes over it for a linear layer.
const IDLE: [&str; 11] = [
    "peft_type",
    "task_type",
    "auto_mapping",
    "peft_version",
    "inference_mode",
    "megatron_core",
    "qalora_group_size",
    "fan_in_fan_out",
    "ensure_weight_tying",
    "eva_config",
    "runtime_config",
];

/// Beginnings that leave the base as it is. The others subtract what they begin with from the base's
/// own matrices, so that their tensors mean nothing over the base as it was published.
const BEGINNINGS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

impl AdapterConfig {
    pub(super) fn read(path: &Path, text: &[u8]) -> Result<Self, IoError> {
        let keys: Map<String, Value> = parse_json(path, text)?;
        check_type(path, &keys)?;
        for (key, value) in &keys {
            check_key(path, key, value)?;
        }
        let config: Self = parse_json(path, text)?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), IoError> {
        let ranks = self.rank_pattern.iter().map(|(_, rank)| *rank);
        if ranks.chain([self.r]).any(|rank| rank == 0) {
            return Err(Fault::Invalid.of(path, "a rank of 0 adapts nothing; give at least 1"));
        }
        let alphas = self.alpha_pattern.iter().map(|(_, alpha)| *alpha);
        if alphas
            .chain([self.lora_alpha])
            .any(|alpha| !alpha.is_finite())
        {
            return Err(Fault::Invalid.of(path, "`lora_alpha` is no finite number"));
        }
        Ok(())
    }

    /// The keys of the patterns as expressions.
    pub(super) fn patterns(&self, path: &Path) -> Result<Patterns, IoError> {
        Ok(Patterns {
            ranks: compiled(path, "rank_pattern", &self.rank_pattern)?,
            alphas: compiled(path, "alpha_pattern", &self.alpha_pattern)?,
        })
    }
}

/// Ranks and alphas of some layers, by the keys that match them.
#[derive(Debug, Clone)]
pub(super) struct Patterns {
    ranks: Vec<(LayerPattern, usize)>,
    alphas: Vec<(LayerPattern, f64)>,
}

impl Patterns {
    /// The rank of a layer's adapter.
    pub(super) fn rank(&self, config: &AdapterConfig, layer: &str) -> usize {
        first(&self.ranks, layer).unwrap_or(config.r)
    }

    /// What a layer's adapter is multiplied by.
    pub(super) fn scale(&self, config: &AdapterConfig, layer: &str) -> f64 {
        let alpha = first(&self.alphas, layer).unwrap_or(config.lora_alpha);
        let rank = self.rank(config, layer) as f64;
        alpha / if config.use_rslora { rank.sqrt() } else { rank }
    }
}

fn first<T: Copy>(patterns: &[(LayerPattern, T)], layer: &str) -> Option<T> {
    let matches = |(pattern, _): &&(LayerPattern, T)| pattern.matches(layer);
    patterns.iter().find(matches).map(|(_, value)| *value)
}

fn compiled<T: Copy>(
    path: &Path,
    table: &str,
    pairs: &[(String, T)],
) -> Result<Vec<(LayerPattern, T)>, IoError> {
    if pairs.len() > MOST {
        let reason = format!(
            "`{table}` has {} keys, over the limit of {MOST}",
            pairs.len()
        );
        return Err(Fault::Malformed.of(path, reason));
    }
    let compiled = pairs.iter().map(|(key, value)| {
        let pattern = LayerPattern::end(key).map_err(|error| {
            let reason = format!("`{table}` has the key `{key}`, which is no pattern: {error}");
            Fault::Malformed.of(path, reason)
        })?;
        Ok((pattern, *value))
    });
    compiled.collect()
}

fn check_type(path: &Path, keys: &Map<String, Value>) -> Result<(), IoError> {
    match keys.get("peft_type").and_then(Value::as_str) {
        Some("LORA") => Ok(()),
        Some(other) => {
            let reason = format!(
                "it is an adapter of the type {other}, which is not supported; only LORA is: merge it \
                 into its base with PEFT's `merge_and_unload` where it can, and save that"
            );
            Err(Fault::Unsupported.of(path, reason))
        }
        None => Err(Fault::Malformed.of(path, "`peft_type` is missing; PEFT writes `LORA` there")),
    }
}

/// Refuses what this version does not compute, and would be wrong to pass over.
fn check_key(path: &Path, key: &str, value: &Value) -> Result<(), IoError> {
    if READ.contains(&key) || IDLE.contains(&key) || is_neutral(value) {
        return Ok(());
    }
    if key == "init_lora_weights" {
        let begins = value
            .as_str()
            .is_some_and(|name| BEGINNINGS.contains(&name));
        if begins || value == &Value::Bool(true) {
            return Ok(());
        }
        let reason = format!(
            "`init_lora_weights` is {value}, which changed the base's own matrices; save the adapter \
             again with PEFT's `path_initial_model_for_weight_conversion`"
        );
        return Err(Fault::Unsupported.of(path, reason));
    }
    let reason = format!(
        "`{key}` is {value}, which is not supported; merge the adapter into its base with PEFT's \
         `merge_and_unload`, and save that"
    );
    Err(Fault::Unsupported.of(path, reason))
}

/// What says of any key that it is not used.
fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AdapterConfig, String> {
        let read = AdapterConfig::read(Path::new("adapter_config.json"), text.as_bytes());
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn layers_have_their_own_ranks_and_scales() {
        let config = read(
            r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 6, "target_modules": "all-linear",
                "use_rslora": true, "rank_pattern": {"fc1": 2, ".*fc1": 9}, "alpha_pattern": {"fc1": 10}}"#,
        )
        .unwrap();
        let patterns = config.patterns(Path::new("")).unwrap();
        let all = TargetModules::Expression("all-linear".into());
        assert_eq!(config.target_modules, Some(all));
        assert_eq!(patterns.rank(&config, "a.fc1"), 2);
        assert_eq!(patterns.scale(&config, "a.fc1"), 10.0 / 2f64.sqrt());
        assert_eq!(patterns.scale(&config, "a.fc2"), 3.0);
    }

    #[test]
    fn blocks_and_layers_left_out_are_one_or_a_list() {
        let config = read(
            r#"{"peft_type": "LORA", "layers_to_transform": 1, "layers_pattern": "layers",
                "exclude_modules": ["fc1"]}"#,
        )
        .unwrap();
        assert_eq!(config.layers_to_transform, [1]);
        assert_eq!(config.layers_pattern, ["layers"]);
        let names = TargetModules::Names(vec!["fc1".into()]);
        assert_eq!(config.exclude_modules, Some(names));
        let config = read(
            r#"{"peft_type": "LORA", "layers_to_transform": [0, 2], "layers_pattern": "",
                "exclude_modules": ".*fc1"}"#,
        )
        .unwrap();
        assert_eq!(config.layers_to_transform, [0, 2]);
        assert!(config.layers_pattern.is_empty());
        let expression = TargetModules::Expression(".*fc1".into());
        assert_eq!(config.exclude_modules, Some(expression));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (text, named) in [
            (r#"{"peft_type": "IA3"}"#, "IA3"),
            (r#"{"peft_type": "PROMPT_TUNING"}"#, "PROMPT_TUNING"),
            (r#"{"r": 4}"#, "`peft_type`"),
            (r#"{"peft_type": "LORA", "r": 0}"#, "rank of 0"),
            (r#"{"peft_type": "LORA", "r": -1}"#, "r"),
            (r#"{"peft_type": "LORA", "lora_bias": true}"#, "`lora_bias`"),
            (
                r#"{"peft_type": "LORA", "init_lora_weights": "pissa"}"#,
                "pissa",
            ),
            (
                r#"{"peft_type": "LORA", "trainable_token_indices": [1]}"#,
                "`trainable_token_indices`",
            ),
            (
                r#"{"peft_type": "LORA", "a_key_of_tomorrow": 1}"#,
                "`a_key_of_tomorrow`",
            ),
            (r#"{"peft_type": "LORA", "rank_pattern": {"(": 1}}"#, "`(`"),
        ] {
            let refused = read(text).and_then(|config| {
                let patterns = config.patterns(Path::new(""));
                patterns.map(|_| ()).map_err(|error| error.to_string())
            });
            let error = refused.unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn what_changes_nothing_is_passed_over() {
        for rest in [
            r#""fan_in_fan_out": true"#,
            r#""init_lora_weights": "gaussian", "loftq_config": {}, "layer_replication": null"#,
            r#""layers_to_transform": [0, 1], "a_key_of_tomorrow": null"#,
        ] {
            let text = format!(r#"{{"peft_type": "LORA", {rest}}}"#);
            assert_eq!(read(&text).unwrap().r, 8, "{rest}");
        }
    }
}
