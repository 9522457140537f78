//! Which layers are adapted, and how.

use blip2_io::{AdapterConfig, TargetModules};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{error::TrainError, names::NamePattern};

/// Which layers are adapted, and how (`LoraConfig` of PEFT; Hu et al., 2021).
///
/// ```
/// use blip2_train::LoraConfig;
///
/// let config = LoraConfig::new(16, ["q_proj", "v_proj"]).with_alpha(32.0).with_dropout(0.05);
/// assert_eq!(config.scale(), 2.0);
/// assert!(config.targets("language_model.model.decoder.layers.0.self_attn.q_proj"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoraConfig {
    /// The rank of the adapters.
    pub r: usize,
    /// What an adapter adds is multiplied by `lora_alpha / r`.
    #[serde(default = "usual_alpha")]
    pub lora_alpha: f64,
    /// The probability with which each of the input's numbers is dropped in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// The layers: whole names, their last components, as in `q_proj`, or their first, as in
    /// `qformer`; `all-linear`, which is all linear layers but the language model's head; or regular
    /// expressions that match whole names, which are told by characters that stand in no name, as in
    /// `.*decoder.*(q|v)_proj`.
    #[serde(deserialize_with = "one_or_many")]
    pub target_modules: Vec<NamePattern>,
    /// What an adapter adds is multiplied by `lora_alpha / √r` (Kalajdzievski, 2023).
    #[serde(default)]
    pub use_rslora: bool,
    /// Adapters change the directions of a matrix's rows, and their lengths are trained by themselves
    /// (DoRA; Liu et al., 2024).
    #[serde(default)]
    pub use_dora: bool,
    /// Other ranks, of layers whose names' ends match a regular expression: the first that matches counts.
    #[serde(default)]
    pub rank_pattern: Vec<(String, usize)>,
    /// Other `lora_alpha`s, in the same way.
    #[serde(default)]
    pub alpha_pattern: Vec<(String, f64)>,
    /// The numbers of the blocks whose layers are adapted: as in PEFT the first number in a layer's name
    /// that has two names before it. All, where none is given.
    #[serde(default)]
    pub layers_to_transform: Vec<usize>,
    /// Regular expressions for what stands before those numbers, as `layers`. Anything, where none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers_pattern: Vec<String>,
    /// Layers that are not adapted, whatever names them: ends of names, or a regular expression for whole
    /// ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<TargetModules>,
}

/// What stands for all linear layers, as in PEFT.
const ALL_LINEAR: &str = "all-linear";

/// The largest rank: wider than the layers of any model of the family.
const MOST: usize = 16_384;

/// Whether a target is a name, or a part of one, rather than a regular expression.
pub(super) fn is_name(target: &str) -> bool {
    let in_names = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.');
    target != ALL_LINEAR && target.chars().all(in_names)
}

/// PEFT's own default.
fn usual_alpha() -> f64 {
    8.0
}

/// PEFT writes a regular expression as a text alone.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NamePattern>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Targets {
        One(NamePattern),
        Many(Vec<NamePattern>),
    }
    Ok(match Targets::deserialize(deserializer)? {
        Targets::One(one) => vec![one],
        Targets::Many(many) => many,
    })
}

impl LoraConfig {
    /// Adapters of rank `r` on these layers, with `alpha = r` and no dropout.
    pub fn new<T: Into<NamePattern>>(
        r: usize,
        target_modules: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            r,
            lora_alpha: r as f64,
            lora_dropout: 0.0,
            target_modules: target_modules.into_iter().map(Into::into).collect(),
            use_rslora: false,
            use_dora: false,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            layers_to_transform: Vec::new(),
            layers_pattern: Vec::new(),
            exclude_modules: None,
        }
    }

    /// Of an adapter that was saved. Which layers are meant is told by the adapters themselves.
    pub(super) fn of_saved(saved: &AdapterConfig) -> Self {
        let targets = match &saved.target_modules {
            Some(TargetModules::Expression(one)) => vec![one.clone()],
            Some(TargetModules::Names(names)) => names.clone(),
            _ => Vec::new(),
        };
        Self {
            lora_alpha: saved.lora_alpha,
            lora_dropout: saved.lora_dropout,
            use_rslora: saved.use_rslora,
            use_dora: saved.use_dora,
            rank_pattern: saved.rank_pattern.clone(),
            alpha_pattern: saved.alpha_pattern.clone(),
            layers_to_transform: saved.layers_to_transform.clone(),
            layers_pattern: saved.layers_pattern.clone(),
            exclude_modules: saved.exclude_modules.clone(),
            ..Self::new(saved.r, targets)
        }
    }

    /// What an adapter adds is multiplied by this, where no pattern says otherwise.
    pub fn scale(&self) -> f64 {
        self.scale_of(self.lora_alpha, self.r)
    }

    pub(super) fn scale_of(&self, alpha: f64, rank: usize) -> f64 {
        let rank = rank as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Multiplies what adapters add by `alpha / r`.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.lora_alpha = alpha;
        self
    }

    /// Drops each of the input's numbers with this probability in training.
    #[must_use]
    pub fn with_dropout(mut self, dropout: f64) -> Self {
        self.lora_dropout = dropout;
        self
    }

    /// Multiplies what adapters add by `alpha / √r` in place of `alpha / r` (rsLoRA).
    #[must_use]
    pub fn with_rslora(mut self, use_rslora: bool) -> Self {
        self.use_rslora = use_rslora;
        self
    }

    /// Trains the lengths of rows by themselves (DoRA).
    #[must_use]
    pub fn with_dora(mut self, use_dora: bool) -> Self {
        self.use_dora = use_dora;
        self
    }

    /// Gives the layers whose names' ends match these regular expressions other ranks.
    #[must_use]
    pub fn with_rank_pattern(mut self, ranks: impl IntoIterator<Item = (String, usize)>) -> Self {
        self.rank_pattern = ranks.into_iter().collect();
        self
    }

    /// Gives the layers whose names' ends match these regular expressions other `lora_alpha`s.
    #[must_use]
    pub fn with_alpha_pattern(mut self, alphas: impl IntoIterator<Item = (String, f64)>) -> Self {
        self.alpha_pattern = alphas.into_iter().collect();
        self
    }

    /// Adapts the layers of blocks with these numbers alone.
    #[must_use]
    pub fn with_layers_to_transform(mut self, layers: impl IntoIterator<Item = usize>) -> Self {
        self.layers_to_transform = layers.into_iter().collect();
        self
    }

    pub(super) fn targets_all(&self) -> bool {
        let mut targets = self.target_modules.iter();
        targets.any(|target| target.as_str() == ALL_LINEAR)
    }

    /// The targets that must each match a layer.
    pub(crate) fn named_targets(&self) -> Vec<NamePattern> {
        let targets = self.target_modules.iter();
        let named = targets.filter(|target| is_name(target.as_str()));
        named.cloned().collect()
    }

    /// The regular expressions among the targets.
    pub(super) fn expressions(&self) -> impl Iterator<Item = &str> {
        let targets = self.target_modules.iter().map(NamePattern::as_str);
        targets.filter(|target| *target != ALL_LINEAR && !is_name(target))
    }

    pub(super) fn validate(&self) -> Result<(), TrainError> {
        let others = self.rank_pattern.iter();
        let others = others.map(|(_, rank)| ("rank_pattern", *rank));
        for (key, rank) in [("r", self.r)].into_iter().chain(others) {
            if rank == 0 {
                return Err(TrainError::argument(key, 0, "must be at least 1"));
            }
            if rank > MOST {
                let reason = format!("is above {MOST}: an adapter is narrower than its layer");
                return Err(TrainError::argument(key, rank, reason));
            }
        }
        let others = self.alpha_pattern.iter();
        let others = others.map(|(_, alpha)| ("alpha_pattern", *alpha));
        for (key, alpha) in [("lora_alpha", self.lora_alpha)].into_iter().chain(others) {
            if !(alpha > 0.0 && alpha.is_finite()) {
                let reason = "must be above 0, and finite";
                return Err(TrainError::argument(key, alpha, reason));
            }
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
    fn all_linear_is_all_but_the_head() {
        let config = LoraConfig::new(4, ["all-linear"]);
        for layer in [
            "vision_model.layers.0.fc1",
            "lm.0.q_proj",
            "language_projection",
        ] {
            assert!(config.targets(layer), "{layer}");
        }
        assert!(!config.targets("language_model.lm_head"));
        assert!(!config.targets("text_decoder.cls.predictions.decoder"));
        let both = LoraConfig::new(4, ["all-linear", "lm_head"]);
        assert!(both.targets("language_model.lm_head"));
    }
}
