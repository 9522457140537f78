//! The configuration of Granite Speech.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error},
};
use serde_json::Value;

use super::{
    Blip2QFormerConfig, ConfigError, ConformerConfig, GraniteConfig, PATCHES, TextConfig,
    check_size,
};

const PART: &str = "config";
/// What reads the encoder's output.
const PROJECTOR: &str = "blip_2_qformer";
/// The audio token of the first published models.
const AUDIO_TOKEN: u32 = 49155;

/// `GraniteSpeechConfig`: a conformer that reads sound, a Q-Former that reads its output window by
/// window, and a language model.
///
/// ```
/// use blip2_io::config::GraniteSpeechConfig;
///
/// let config: GraniteSpeechConfig = serde_json::from_str(
///     r#"{ "model_type": "granite_speech", "window_size": 15, "downsample_rate": 5,
///          "projector_config": { "encoder_hidden_size": 1024 } }"#,
/// )?;
/// config.validate()?;
/// assert_eq!(config.queries_per_window(), 3);
/// assert_eq!(config.num_placeholders(31), 9); // of 31 frames: three windows, the last of one frame
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "model_type", rename = "granite_speech")]
#[non_exhaustive]
pub struct GraniteSpeechConfig {
    /// The encoder of sound.
    pub encoder_config: ConformerConfig,
    /// The Q-Former that reads the encoder's output. Its `encoder_hidden_size` must be the encoder's
    /// `hidden_dim`.
    pub projector_config: Blip2QFormerConfig,
    /// The language model. Default: a Granite.
    pub text_config: TextConfig,
    /// The id of the placeholder for sound, also spelled `audio_token_id`. It may be beyond the
    /// vocabulary, since its embedding is never read. Default 49155.
    pub audio_token_index: u32,
    /// The frames that the Q-Former reads at a time. Default 15.
    pub window_size: usize,
    /// By how much fewer queries than frames a window has. Default 5.
    pub downsample_rate: usize,
    /// Whether an adapter lies beside the checkpoint, which is put on the language model where there
    /// is sound. Default true.
    pub has_lora_adapter: bool,
    /// The standard deviation of initial weights. Default 0.02.
    pub initializer_range: f64,
    /// Whether the output head is the table of token embeddings; the language model's own key of that
    /// name is not looked at, as in the reference. Default true.
    pub tie_word_embeddings: bool,
}

setters! { GraniteSpeechConfig {
    with_encoder_config(encoder_config: ConformerConfig),
    with_projector_config(projector_config: Blip2QFormerConfig),
    with_text_config(text_config: TextConfig),
    with_audio_token_index(audio_token_index: u32),
    with_window_size(window_size: usize),
    with_downsample_rate(downsample_rate: usize),
    with_has_lora_adapter(has_lora_adapter: bool),
    with_initializer_range(initializer_range: f64),
    with_tie_word_embeddings(tie_word_embeddings: bool),
} }

impl Default for GraniteSpeechConfig {
    fn default() -> Self {
        Raw::default().into()
    }
}

impl<'de> Deserialize<'de> for GraniteSpeechConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Into::into)
    }
}

/// The file's form: any part may be missing or null, and the placeholder has two spellings.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    encoder_config: Option<ConformerConfig>,
    #[serde(deserialize_with = "projector")]
    projector_config: Option<Blip2QFormerConfig>,
    #[serde(deserialize_with = "text")]
    text_config: Option<TextConfig>,
    audio_token_index: Option<u32>,
    audio_token_id: Option<u32>,
    window_size: Option<usize>,
    downsample_rate: Option<usize>,
    has_lora_adapter: Option<bool>,
    initializer_range: Option<f64>,
    tie_word_embeddings: Option<bool>,
}

impl From<Raw> for GraniteSpeechConfig {
    fn from(raw: Raw) -> Self {
        let tied = raw.tie_word_embeddings.unwrap_or(true);
        let granite = || TextConfig::Granite(GraniteConfig::default());
        let mut text_config = raw.text_config.unwrap_or_else(granite);
        match &mut text_config {
            TextConfig::Granite(text) => text.tie_word_embeddings = tied,
            TextConfig::Llama(text) => text.tie_word_embeddings = tied,
            TextConfig::Opt(text) => text.tie_word_embeddings = tied,
            TextConfig::T5(_) => {}
        }
        Self {
            encoder_config: raw.encoder_config.unwrap_or_default(),
            projector_config: raw.projector_config.unwrap_or_default(),
            text_config,
            audio_token_index: raw
                .audio_token_index
                .or(raw.audio_token_id)
                .unwrap_or(AUDIO_TOKEN),
            window_size: raw.window_size.unwrap_or(15),
            downsample_rate: raw.downsample_rate.unwrap_or(5),
            has_lora_adapter: raw.has_lora_adapter.unwrap_or(true),
            initializer_range: raw.initializer_range.unwrap_or(0.02),
            tie_word_embeddings: tied,
        }
    }
}

/// The projector, if it is the one that is known.
fn projector<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Blip2QFormerConfig>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    match value.get("model_type").and_then(Value::as_str) {
        None | Some(PROJECTOR) => keyed(value),
        Some(other) => Err(D::Error::custom(format!(
            "model_type = \"{other}\" is not supported; supported: \"{PROJECTOR}\""
        ))),
    }
}

/// The language model, a Granite where its type is left out.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TextConfig>, D::Error> {
    let mut value = Value::deserialize(deserializer)?;
    if let Value::Object(keys) = &mut value {
        let kind = keys.entry("model_type").or_insert(Value::Null);
        if kind.is_null() {
            *kind = "granite".into();
        }
    }
    keyed(value)
}

/// Reads a value, naming the key of what is wrong in it.
fn keyed<T: DeserializeOwned, E: Error>(value: Value) -> Result<T, E> {
    serde_path_to_error::deserialize(value).map_err(E::custom)
}

impl GraniteSpeechConfig {
    /// How many vectors the Q-Former makes of a window of frames.
    pub fn queries_per_window(&self) -> usize {
        self.window_size / self.downsample_rate.max(1)
    }

    /// How many placeholders a sound of `frames` frames of the encoder takes in a prompt. The last
    /// window counts whole.
    pub fn num_placeholders(&self, frames: usize) -> usize {
        let windows = frames.div_ceil(self.window_size.max(1));
        windows.saturating_mul(self.queries_per_window())
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the part and the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.encoder_config.validate()?;
        self.projector_config.validate_as("projector_config")?;
        self.text_config.validate()?;
        let frames = PATCHES * PATCHES;
        check_size(PART, "window_size", self.window_size, frames)?;
        check_size(PART, "downsample_rate", self.downsample_rate, frames)?;
        if !self.window_size.is_multiple_of(self.downsample_rate) {
            let reason = format!("must divide window_size = {}", self.window_size);
            let rate = self.downsample_rate;
            return Err(ConfigError::value(PART, "downsample_rate", rate, reason));
        }
        let (read, written) = (
            self.projector_config.encoder_hidden_size,
            self.encoder_config.hidden_dim,
        );
        if read != written {
            return Err(ConfigError::value(
                "projector_config",
                "encoder_hidden_size",
                read,
                format!("must be encoder_config.hidden_dim = {written}"),
            ));
        }
        if self.text_config.is_encoder_decoder() {
            let reason = "sound is read by decoder-only language models alone".into();
            let kind = self.text_config.model_type();
            return Err(ConfigError::value(
                "text_config",
                "model_type",
                kind,
                reason,
            ));
        }
        Ok(())
    }
}
