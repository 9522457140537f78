//! The whole model's configuration.

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Blip2QFormerConfig, Blip2VisionConfig, ConfigError, PATCHES, TextConfig, WIDTH, check_size,
    one_or_none,
};

/// Which of the models that have a BLIP-2's parts a configuration is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Blip2Variant {
    /// BLIP-2 itself: the Q-Former sees the picture alone.
    #[default]
    #[serde(rename = "blip-2")]
    Blip2,
    /// InstructBLIP (Dai et al., 2023): the Q-Former reads the question too.
    #[serde(rename = "instructblip")]
    InstructBlip,
    /// InstructBLIP for videos, whose frames are seen one by one.
    #[serde(rename = "instructblipvideo")]
    InstructBlipVideo,
}

impl Blip2Variant {
    /// Whether the Q-Former reads the prompt.
    pub fn reads_instructions(self) -> bool {
        self != Self::Blip2
    }

    /// The number of frames that are encoded together: 4 of a video, else 1.
    pub fn num_frames(self) -> usize {
        match self {
            Self::InstructBlipVideo => 4,
            _ => 1,
        }
    }
}

/// `Blip2Config`, `InstructBlipConfig` and `InstructBlipVideoConfig`; the defaults are a ViT-g, a
/// Q-Former of 32 queries, and OPT-125M.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Blip2Config {
    /// The model. Default `blip-2`.
    pub model_type: Blip2Variant,
    /// The vision tower.
    pub vision_config: Blip2VisionConfig,
    /// The Q-Former. Its `encoder_hidden_size` is always the vision tower's `hidden_size`, and it
    /// has a branch for text wherever it reads the prompt.
    pub qformer_config: Blip2QFormerConfig,
    /// The language model.
    pub text_config: TextConfig,
    /// The number of query tokens, and so of positions that a picture takes. Default 32.
    pub num_query_tokens: usize,
    /// The width of the space in which retrieval compares. Default 256.
    pub image_text_hidden_size: usize,
    /// The id of the image placeholder, also spelled `image_token_id`, `video_token_index` and
    /// `video_token_id`. Old checkpoints have none;
    /// then the picture is put before the text. Default none.
    pub image_token_index: Option<u32>,
    /// A factor on the standard deviation of initial weights. Default 1.
    pub initializer_factor: f64,
    /// The standard deviation of initial weights. Default 0.02.
    pub initializer_range: f64,
    /// The number format that the weights were saved from, also spelled `torch_dtype`; the files
    /// themselves say what they hold. Default none.
    pub dtype: Option<String>,
    /// The classes that the checkpoint was saved from.
    pub architectures: Vec<String>,
}

setters! { Blip2Config {
    with_model_type(model_type: Blip2Variant),
    with_vision_config(vision_config: Blip2VisionConfig),
    with_qformer_config(qformer_config: Blip2QFormerConfig),
    with_text_config(text_config: TextConfig),
    with_num_query_tokens(num_query_tokens: usize),
    with_image_text_hidden_size(image_text_hidden_size: usize),
    with_image_token_index(image_token_index: Option<u32>),
    with_initializer_factor(initializer_factor: f64),
    with_initializer_range(initializer_range: f64),
    with_dtype(dtype: Option<String>),
    with_architectures(architectures: Vec<String>),
} }

impl Default for Blip2Config {
    fn default() -> Self {
        Raw::default().into()
    }
}

impl<'de> Deserialize<'de> for Blip2Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Into::into)
    }
}

/// The file's form: any part may be missing or null, and two keys have two spellings.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    model_type: Option<Blip2Variant>,
    vision_config: Option<Blip2VisionConfig>,
    qformer_config: Option<Blip2QFormerConfig>,
    text_config: Option<TextConfig>,
    num_query_tokens: Option<usize>,
    image_text_hidden_size: Option<usize>,
    #[serde(deserialize_with = "one_or_none")]
    image_token_index: Option<u32>,
    #[serde(deserialize_with = "one_or_none")]
    image_token_id: Option<u32>,
    #[serde(deserialize_with = "one_or_none")]
    video_token_index: Option<u32>,
    #[serde(deserialize_with = "one_or_none")]
    video_token_id: Option<u32>,
    initializer_factor: Option<f64>,
    initializer_range: Option<f64>,
    dtype: Option<String>,
    torch_dtype: Option<String>,
    architectures: Option<Vec<String>>,
}

impl From<Raw> for Blip2Config {
    fn from(raw: Raw) -> Self {
        let vision_config = raw.vision_config.unwrap_or_default();
        let mut qformer_config = raw.qformer_config.unwrap_or_default();
        qformer_config.encoder_hidden_size = vision_config.hidden_size;
        let architectures = raw.architectures.unwrap_or_default();
        let model_type = raw.model_type.unwrap_or_else(|| {
            let is = |prefix: &str| architectures.iter().any(|class| class.starts_with(prefix));
            if is("InstructBlipVideo") {
                Blip2Variant::InstructBlipVideo
            } else if is("InstructBlip") {
                Blip2Variant::InstructBlip
            } else {
                Blip2Variant::Blip2
            }
        });
        qformer_config.use_qformer_text_input |= model_type.reads_instructions();
        Self {
            model_type,
            vision_config,
            qformer_config,
            text_config: raw.text_config.unwrap_or_default(),
            num_query_tokens: raw.num_query_tokens.unwrap_or(32),
            image_text_hidden_size: raw.image_text_hidden_size.unwrap_or(256),
            image_token_index: raw
                .image_token_index
                .or(raw.image_token_id)
                .or(raw.video_token_index)
                .or(raw.video_token_id),
            initializer_factor: raw.initializer_factor.unwrap_or(1.0),
            initializer_range: raw.initializer_range.unwrap_or(0.02),
            dtype: raw.dtype.or(raw.torch_dtype),
            architectures,
        }
    }
}

impl Blip2Config {
    /// How many placeholders a picture, or a video, takes in a prompt.
    pub fn num_placeholders(&self) -> usize {
        self.num_query_tokens * self.model_type.num_frames()
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the part and the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const PART: &str = "config";
        self.vision_config.validate()?;
        self.qformer_config.validate()?;
        self.text_config.validate()?;
        check_size(
            PART,
            "num_query_tokens",
            self.num_query_tokens,
            PATCHES * PATCHES,
        )?;
        if self.qformer_config.encoder_hidden_size != self.vision_config.hidden_size {
            return Err(ConfigError::value(
                "qformer_config",
                "encoder_hidden_size",
                self.qformer_config.encoder_hidden_size,
                format!(
                    "must be vision_config.hidden_size = {}",
                    self.vision_config.hidden_size
                ),
            ));
        }
        check_size(
            PART,
            "image_text_hidden_size",
            self.image_text_hidden_size,
            WIDTH,
        )?;
        let vocab = self.text_config.vocab_size();
        if let Some(id) = self.image_token_index
            && id as usize >= vocab
        {
            let reason = format!("must be below text_config.vocab_size = {vocab}");
            return Err(ConfigError::value(PART, "image_token_index", id, reason));
        }
        Ok(())
    }
}
