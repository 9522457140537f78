//! The language model's configuration, whichever model it is.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error},
};
use serde_json::Value;

use super::{
    ConfigError, GraniteConfig, LlamaConfig, OptConfig,
    t5::{self, T5Config},
};

/// The configuration of the language model, told apart by its `model_type`.
///
/// ```
/// use blip2_io::config::TextConfig;
///
/// let config: TextConfig = serde_json::from_str(r#"{ "model_type": "t5", "d_model": 64 }"#)?;
/// assert_eq!(config.hidden_size(), 64); // whatever the family calls it
/// assert!(config.is_encoder_decoder());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "model_type", rename_all = "lowercase")]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // there is one for each model
pub enum TextConfig {
    /// `opt`: a decoder-only model.
    Opt(OptConfig),
    /// `t5`: an encoder-decoder model, such as Flan-T5; also `mt5`, which is written as a T5.
    T5(T5Config),
    /// `llama`: a decoder-only model, such as Vicuna.
    Llama(LlamaConfig),
    /// `granite`: a decoder-only model, LLaMA with multipliers.
    Granite(GraniteConfig),
}

impl Default for TextConfig {
    fn default() -> Self {
        Self::Opt(OptConfig::default())
    }
}

impl<'de> Deserialize<'de> for TextConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // `transformers` takes OPT where the type is left out.
        match value.get("model_type").unwrap_or(&Value::Null) {
            Value::Null => keyed(value).map(Self::Opt),
            Value::String(name) if name == "opt" => keyed(value).map(Self::Opt),
            Value::String(name) if name == "t5" => keyed(value).map(Self::T5),
            Value::String(name) if name == "mt5" => keyed(t5::of_mt5(value)).map(Self::T5),
            Value::String(name) if name == "llama" => keyed(value).map(Self::Llama),
            Value::String(name) if name == "granite" => keyed(value).map(Self::Granite),
            other => Err(D::Error::custom(format!(
                "model_type = {other} is not supported; supported: \"opt\", \"t5\", \"mt5\", \
                 \"llama\", \"granite\""
            ))),
        }
    }
}

/// Reads a value, naming the key of what is wrong in it.
fn keyed<T: DeserializeOwned, E: Error>(value: Value) -> Result<T, E> {
    serde_path_to_error::deserialize(value).map_err(E::custom)
}

impl TextConfig {
    /// The `model_type`.
    pub fn model_type(&self) -> &'static str {
        match self {
            Self::Opt(_) => "opt",
            Self::T5(_) => "t5",
            Self::Llama(_) => "llama",
            Self::Granite(_) => "granite",
        }
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Opt(config) => config.vocab_size,
            Self::T5(config) => config.vocab_size,
            Self::Llama(config) => config.vocab_size,
            Self::Granite(config) => config.vocab_size,
        }
    }

    /// The width that a picture is projected to.
    pub fn hidden_size(&self) -> usize {
        match self {
            Self::Opt(config) => config.hidden_size,
            Self::T5(config) => config.d_model,
            Self::Llama(config) => config.hidden_size,
            Self::Granite(config) => config.hidden_size,
        }
    }

    /// The ids that end a text.
    pub fn eos_token_ids(&self) -> &[u32] {
        match self {
            Self::Opt(config) => &config.eos_token_id,
            Self::T5(config) => &config.eos_token_id,
            Self::Llama(config) => &config.eos_token_id,
            Self::Granite(config) => &config.eos_token_id,
        }
    }

    /// The padding id.
    pub fn pad_token_id(&self) -> Option<u32> {
        match self {
            Self::Opt(config) => config.pad_token_id,
            Self::T5(config) => config.pad_token_id,
            Self::Llama(config) => config.pad_token_id,
            Self::Granite(config) => config.pad_token_id,
        }
    }

    /// The id that stands for a missing prompt.
    pub fn bos_token_id(&self) -> Option<u32> {
        match self {
            Self::Opt(config) => config.bos_token_id,
            Self::T5(config) => config.bos_token_id,
            Self::Llama(config) => config.bos_token_id,
            Self::Granite(config) => config.bos_token_id,
        }
    }

    /// How many positions a prompt and its answer may have together; `None` for any number, as T5's are relative.
    pub fn context(&self) -> Option<usize> {
        match self {
            Self::Opt(config) => Some(config.max_position_embeddings),
            Self::T5(_) => None,
            Self::Llama(config) => config.context(),
            Self::Granite(config) => config.context(),
        }
    }

    /// The id that the decoder of an encoder-decoder starts from; `None` for decoder-only models.
    pub fn decoder_start_token_id(&self) -> Option<u32> {
        match self {
            Self::Opt(_) | Self::Llama(_) | Self::Granite(_) => None,
            Self::T5(config) => config.decoder_start_token_id,
        }
    }

    /// Whether the model has an encoder.
    pub fn is_encoder_decoder(&self) -> bool {
        matches!(self, Self::T5(_))
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Opt(config) => config.validate()?,
            Self::T5(config) => config.validate()?,
            Self::Llama(config) => config.validate()?,
            Self::Granite(config) => config.validate()?,
        }
        let vocab = self.vocab_size();
        // Only these are always looked up: by the embedding of a decoder-only model as it is made, and by
        // a decoder. An end or a beginning that no token has is never met.
        let looked_up = match self {
            Self::T5(_) => ("decoder_start_token_id", self.decoder_start_token_id()),
            _ => ("pad_token_id", self.pad_token_id()),
        };
        if let (key, Some(id)) = looked_up
            && id as usize >= vocab
        {
            let reason = format!("must be below vocab_size = {vocab}");
            return Err(ConfigError::value("text_config", key, id, reason));
        }
        Ok(())
    }

    /// The special tokens that the vocabulary does not have, by their keys: the reference takes such a
    /// configuration, and never meets them.
    pub fn ids_beyond_vocabulary(&self) -> Vec<(&'static str, u32)> {
        let named = [
            ("pad_token_id", self.pad_token_id()),
            ("bos_token_id", self.bos_token_id()),
        ];
        let named = named.into_iter().filter_map(|(key, id)| Some((key, id?)));
        let ends = self.eos_token_ids().iter();
        let all = named.chain(ends.map(|id| ("eos_token_id", *id)));
        all.filter(|(_, id)| *id as usize >= self.vocab_size())
            .collect()
    }
}
