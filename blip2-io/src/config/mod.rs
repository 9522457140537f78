//! Configurations, with the field names and defaults of Hugging Face's `transformers`.
//!
//! Each parses from its part of a `config.json`, old spellings included; keys that mean nothing to
//! the model are ignored.
//!
//! ```
//! use blip2_io::config::{Blip2Config, TextConfig};
//!
//! let config: Blip2Config = serde_json::from_str(
//!     r#"{ "text_config": { "model_type": "opt", "hidden_size": 2560, "num_attention_heads": 32 },
//!          "image_token_index": 50265 }"#,
//! )?;
//! config.validate()?;
//! assert_eq!(config.vision_config.num_hidden_layers, 39);
//! assert!(matches!(config.text_config, TextConfig::Opt(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every field is public, and has a setter for configurations that are written in a program:
//!
//! ```
//! use blip2_io::config::OptConfig;
//!
//! let config = OptConfig::default()
//!     .with_hidden_size(64)
//!     .with_word_embed_proj_dim(64)
//!     .with_num_attention_heads(4);
//! config.validate()?;
//! assert_eq!(config.vocab_size, 50272);
//! # Ok::<(), blip2_io::config::ConfigError>(())
//! ```

mod blip1;
mod blip2;
mod clip_vision;
mod conformer;
mod granite;
mod granite_speech;
mod kind;
mod llama;
mod opt;
mod processor;
mod prompt;
mod qformer;
mod rope;
mod t5;
mod text;
mod vision;

use std::fmt::Display;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

use crate::fault::ErrorKind;

pub use blip1::{BlipConfig, BlipTextConfig, BlipVisionConfig};
pub use blip2::{Blip2Config, Blip2Variant};
pub use clip_vision::ClipVisionConfig;
pub use conformer::ConformerConfig;
pub use granite::GraniteConfig;
pub use granite_speech::GraniteSpeechConfig;
#[cfg(feature = "lavis")]
pub(crate) use kind::article;
pub use kind::{Ability, ModelKind};
pub use llama::LlamaConfig;
pub use opt::OptConfig;
pub use processor::ProcessorConfig;
pub use prompt::PromptConfig;
pub use qformer::Blip2QFormerConfig;
pub use rope::{RopeParameters, RopeType};
pub use t5::T5Config;
pub use text::TextConfig;
pub use vision::{Blip2VisionConfig, VisionFamily};

/// A configuration value that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{key} = {value}: {reason}", within(.part))]
pub struct ConfigError {
    part: &'static str,
    key: &'static str,
    value: String,
    reason: String,
}

impl ConfigError {
    /// A value of `part`'s `key` that is wrong for `reason`.
    pub fn value(
        part: &'static str,
        key: &'static str,
        value: impl Display,
        reason: String,
    ) -> Self {
        Self {
            part,
            key,
            value: value.to_string(),
            reason,
        }
    }

    /// What is at fault: always a value.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    /// The part of the configuration that the key is in, as in `vision_config`.
    pub fn part(&self) -> &'static str {
        self.part
    }

    /// The key at fault.
    pub fn key(&self) -> &'static str {
        self.key
    }
}

/// What stands before a key of a part; those of the file itself stand alone.
fn within(part: &str) -> String {
    match part {
        "config" => String::new(),
        part => format!("{part}."),
    }
}

/// The largest number of layers that is believed. Far beyond any model, and so little that a model of
/// so many layers can be counted tensor by tensor.
const LAYERS: usize = 1 << 10;
/// The largest width, of a layer or of all its heads together. Far beyond any model; with the other
/// bounds, no product of what a configuration says overflows.
const WIDTH: usize = 1 << 20;
/// The largest number of tokens, in a vocabulary or a context.
const TOKENS: usize = 1 << 24;
/// The largest picture, in pixels a side.
const PIXELS: usize = 1 << 14;
/// The most patches a side, so that scores of all with all can still be counted.
const PATCHES: usize = 1 << 8;

/// Checks that `value` is above 0, and not so large that the file must be wrong: it sizes what is
/// allocated.
fn check_size(
    part: &'static str,
    key: &'static str,
    value: usize,
    largest: usize,
) -> Result<(), ConfigError> {
    let reason = match value {
        0 => "must be above 0".into(),
        _ if value > largest => format!("no model has more than {largest}; the file is damaged"),
        _ => return Ok(()),
    };
    Err(ConfigError::value(part, key, value, reason))
}

/// Checks that `value` can be added to a variance.
fn check_epsilon(part: &'static str, key: &'static str, value: f64) -> Result<(), ConfigError> {
    if !value.is_finite() || value < 0.0 {
        let reason = "must be finite and not below 0".into();
        return Err(ConfigError::value(part, key, value, reason));
    }
    Ok(())
}

fn check_heads(
    part: &'static str,
    key: &'static str,
    width: usize,
    heads: usize,
) -> Result<(), ConfigError> {
    check_size(part, "num_attention_heads", heads, WIDTH)?;
    check_size(part, key, width, WIDTH)?;
    if !width.is_multiple_of(heads) {
        let reason = format!("cannot be divided among num_attention_heads = {heads}");
        return Err(ConfigError::value(part, key, width, reason));
    }
    Ok(())
}

/// Writes a single id as a number, as configurations mostly have it.
fn one_if_single<S: Serializer>(ids: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    match ids {
        [id] => serializer.serialize_u32(*id),
        ids => serializer.collect_seq(ids),
    }
}

/// An id, or none: null, and the negative numbers by which older configurations say it.
fn one_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Option::<i64>::deserialize(deserializer)?.map_or(Ok(None), known)
}

/// An id, a list of ids, or none: null, and negative numbers.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(i64),
        Many(Vec<i64>),
    }
    let ids = match Option::<OneOrMany>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(id)) => vec![id],
        Some(OneOrMany::Many(ids)) => ids,
    };
    ids.into_iter()
        .filter_map(|id| known(id).transpose())
        .collect()
}

/// The id that a configuration's number means.
fn known<E: Error>(id: i64) -> Result<Option<u32>, E> {
    match id {
        ..0 => Ok(None),
        _ => u32::try_from(id)
            .map(Some)
            .map_err(|_| E::custom(format!("no vocabulary has a token {id}"))),
    }
}
