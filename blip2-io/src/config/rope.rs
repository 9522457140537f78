//! Rotary position embeddings (RoPE; Su et al., 2021).

use serde::{Deserialize, Deserializer, Serialize};

use super::ConfigError;

const PART: &str = "text_config.rope_parameters";

/// A way to stretch rotary positions beyond the context that a model was pretrained with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RopeType {
    /// Not at all (Su et al., 2021).
    #[default]
    Default,
    /// Every frequency divided by `factor`.
    Linear,
    /// A base that grows with a text that is longer than the context.
    Dynamic,
    /// Low frequencies interpolated, high ones kept, and a ramp between them (Peng et al., 2023).
    Yarn,
    /// A factor for every frequency, one set for short and one for long texts (Ding et al., 2024).
    LongRope,
    /// LLaMA 3.1's ramp between kept and divided frequencies.
    Llama3,
    /// Only the first frequencies rotate at all.
    Proportional,
}

/// `rope_parameters`, which older files spell `rope_scaling`.
///
/// ```
/// use blip2_io::config::{LlamaConfig, RopeType};
///
/// let older = r#"{ "rope_scaling": { "type": "linear", "factor": 4.0 } }"#;
/// let config: LlamaConfig = serde_json::from_str(older)?;
/// assert_eq!(config.rope_parameters.rope_type, RopeType::Linear);
/// assert_eq!(config.rope_parameters.rope_theta, Some(10000.0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RopeParameters {
    /// The kind, which older files spell `type`. Default `default`.
    pub rope_type: RopeType,
    /// The base of the frequencies. [`LlamaConfig`](super::LlamaConfig) fills it in from the
    /// file's `rope_theta`, else by 10000.
    pub rope_theta: Option<f64>,
    /// By how much the context is stretched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// The context that the model was pretrained with. Default: `max_position_embeddings`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<usize>,
    /// `yarn`, `longrope`: what the cosines and sines are multiplied by. Default: by a formula.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
    /// `yarn`: rotations above which a frequency is kept. Default 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_fast: Option<f64>,
    /// `yarn`: rotations below which a frequency is interpolated. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_slow: Option<f64>,
    /// `yarn`: a part of the formula for `attention_factor`. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mscale: Option<f64>,
    /// `yarn`: a part of the formula for `attention_factor`. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mscale_all_dim: Option<f64>,
    /// `yarn`: whether the ramp's ends are whole numbers. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate: Option<bool>,
    /// `longrope`: the factors for texts within the original context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_factor: Option<Vec<f64>>,
    /// `longrope`: the factors for longer texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_factor: Option<Vec<f64>>,
    /// `llama3`: the original context over this is the shortest wavelength that is divided whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// `llama3`: the original context over this is the longest wavelength that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// `proportional`: the share of a head's numbers that are rotated. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
}

setters! { RopeParameters {
    with_rope_type(rope_type: RopeType),
    with_rope_theta(rope_theta: Option<f64>),
    with_factor(factor: Option<f64>),
    with_original_max_position_embeddings(original_max_position_embeddings: Option<usize>),
    with_attention_factor(attention_factor: Option<f64>),
    with_beta_fast(beta_fast: Option<f64>),
    with_beta_slow(beta_slow: Option<f64>),
    with_mscale(mscale: Option<f64>),
    with_mscale_all_dim(mscale_all_dim: Option<f64>),
    with_truncate(truncate: Option<bool>),
    with_short_factor(short_factor: Option<Vec<f64>>),
    with_long_factor(long_factor: Option<Vec<f64>>),
    with_low_freq_factor(low_freq_factor: Option<f64>),
    with_high_freq_factor(high_freq_factor: Option<f64>),
    with_partial_rotary_factor(partial_rotary_factor: Option<f64>),
} }

impl<'de> Deserialize<'de> for RopeParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Some files have the kind in both spellings.
        #[derive(Deserialize)]
        struct Raw {
            rope_type: Option<RopeType>,
            r#type: Option<RopeType>,
            rope_theta: Option<f64>,
            factor: Option<f64>,
            original_max_position_embeddings: Option<usize>,
            attention_factor: Option<f64>,
            beta_fast: Option<f64>,
            beta_slow: Option<f64>,
            mscale: Option<f64>,
            mscale_all_dim: Option<f64>,
            truncate: Option<bool>,
            short_factor: Option<Vec<f64>>,
            long_factor: Option<Vec<f64>>,
            low_freq_factor: Option<f64>,
            high_freq_factor: Option<f64>,
            partial_rotary_factor: Option<f64>,
        }
        let raw = Raw::deserialize(deserializer)?;
        Ok(Self {
            rope_type: raw.rope_type.or(raw.r#type).unwrap_or_default(),
            rope_theta: raw.rope_theta,
            factor: raw.factor,
            original_max_position_embeddings: raw.original_max_position_embeddings,
            attention_factor: raw.attention_factor,
            beta_fast: raw.beta_fast,
            beta_slow: raw.beta_slow,
            mscale: raw.mscale,
            mscale_all_dim: raw.mscale_all_dim,
            truncate: raw.truncate,
            short_factor: raw.short_factor,
            long_factor: raw.long_factor,
            low_freq_factor: raw.low_freq_factor,
            high_freq_factor: raw.high_freq_factor,
            partial_rotary_factor: raw.partial_rotary_factor,
        })
    }
}

impl RopeParameters {
    /// Checks that what the kind needs is there and makes sense.
    pub(super) fn validate(&self, head_dim: usize) -> Result<(), ConfigError> {
        let above = |key, value: Option<f64>, floor: f64| match value {
            Some(value) if !value.is_finite() || value <= floor => {
                let reason = format!("must be finite and above {floor}");
                Err(ConfigError::value(PART, key, value, reason))
            }
            _ => Ok(()),
        };
        let floor = match self.rope_type {
            // Its formulas divide by the base's logarithm.
            RopeType::Yarn => 1.0,
            _ => 0.0,
        };
        above("rope_theta", self.rope_theta, floor)?;
        if self.original_max_position_embeddings == Some(0) {
            let key = "original_max_position_embeddings";
            return Err(ConfigError::value(PART, key, 0, "must be above 0".into()));
        }
        for (key, value) in [
            ("factor", self.factor),
            ("attention_factor", self.attention_factor),
            ("beta_fast", self.beta_fast),
            ("beta_slow", self.beta_slow),
            ("low_freq_factor", self.low_freq_factor),
            ("high_freq_factor", self.high_freq_factor),
        ] {
            above(key, value, 0.0)?;
        }
        let needed: &[(&'static str, bool)] = match self.rope_type {
            RopeType::Linear | RopeType::Dynamic => &[("factor", self.factor.is_some())],
            RopeType::Llama3 => &[
                ("factor", self.factor.is_some()),
                ("low_freq_factor", self.low_freq_factor.is_some()),
                ("high_freq_factor", self.high_freq_factor.is_some()),
            ],
            RopeType::LongRope => &[
                ("short_factor", self.short_factor.is_some()),
                ("long_factor", self.long_factor.is_some()),
            ],
            _ => &[],
        };
        if let Some((key, _)) = needed.iter().find(|(_, found)| !found) {
            let reason = format!("rope_type = {:?} needs it", self.rope_type);
            return Err(ConfigError::value(PART, key, "(none)", reason));
        }
        if self.low_freq_factor.is_some() && self.low_freq_factor == self.high_freq_factor {
            let (key, value) = ("low_freq_factor", self.low_freq_factor.unwrap_or_default());
            let reason = "must differ from high_freq_factor".into();
            return Err(ConfigError::value(PART, key, value, reason));
        }
        self.check_lists(head_dim)?;
        self.check_share()
    }

    fn check_lists(&self, head_dim: usize) -> Result<(), ConfigError> {
        for (key, list) in [
            ("short_factor", &self.short_factor),
            ("long_factor", &self.long_factor),
        ] {
            let Some(list) = list else { continue };
            if list.len() != head_dim / 2 {
                let reason = format!("must be {} numbers, half of head_dim", head_dim / 2);
                let found = format!("{} numbers", list.len());
                return Err(ConfigError::value(PART, key, found, reason));
            }
            if let Some(value) = list
                .iter()
                .find(|value| !value.is_finite() || **value <= 0.0)
            {
                let reason = "must be finite and above 0".into();
                return Err(ConfigError::value(PART, key, value, reason));
            }
        }
        Ok(())
    }

    /// A head that is rotated in part works in the reference's LLaMA only as `proportional`, and
    /// `default` ignores the key.
    fn check_share(&self) -> Result<(), ConfigError> {
        let Some(share) = self.partial_rotary_factor else {
            return Ok(());
        };
        let right = match self.rope_type {
            RopeType::Default => true,
            RopeType::Proportional => (0.0..=1.0).contains(&share),
            _ => share == 1.0,
        };
        if right {
            return Ok(());
        }
        let reason = match self.rope_type {
            RopeType::Proportional => "must be between 0 and 1".into(),
            kind => format!("LLaMA rotates whole heads with rope_type = {kind:?}"),
        };
        let key = "partial_rotary_factor";
        Err(ConfigError::value(PART, key, share, reason))
    }
}
