//! The configuration of BLIP-1.

use blip2_kernels::Activation;
use serde::{Deserialize, Serialize};

use super::{
    Blip2VisionConfig, ConfigError, LAYERS, TOKENS, WIDTH, check_epsilon, check_heads, check_size,
    one_if_single, one_or_many, one_or_none,
};

/// `BlipConfig`: the first BLIP, an image encoder, and a BERT with cross-attention to its output.
///
/// ```
/// use blip2_io::config::{BlipConfig, BlipVisionConfig};
///
/// let large = BlipVisionConfig::default().with_hidden_size(1024).with_num_attention_heads(16);
/// let config = BlipConfig::default().with_vision_config(large).joined();
/// assert_eq!(config.text_config.encoder_hidden_size, 1024); // what texts are read beside
/// config.validate()?;
/// # Ok::<(), blip2_io::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, tag = "model_type", rename = "blip")]
#[non_exhaustive]
pub struct BlipConfig {
    /// The text encoder's and decoder's.
    pub text_config: BlipTextConfig,
    /// The image encoder's.
    pub vision_config: BlipVisionConfig,
    /// The width of the space that retrieval shares between pictures and texts. Default 256.
    pub image_text_hidden_size: usize,
    /// Whether the output head is the table of token embeddings. Default true.
    pub tie_word_embeddings: bool,
}

setters! { BlipConfig {
    with_text_config(text_config: BlipTextConfig),
    with_vision_config(vision_config: BlipVisionConfig),
    with_image_text_hidden_size(image_text_hidden_size: usize),
    with_tie_word_embeddings(tie_word_embeddings: bool),
} }

impl Default for BlipConfig {
    fn default() -> Self {
        Self {
            text_config: BlipTextConfig::default(),
            vision_config: BlipVisionConfig::default(),
            image_text_hidden_size: 256,
            tie_word_embeddings: true,
        }
    }
}

impl BlipConfig {
    /// Sets what `transformers` sets of one part from another: the text model reads as wide
    /// pictures as the image encoder makes.
    #[must_use]
    pub fn joined(mut self) -> Self {
        self.text_config.encoder_hidden_size = self.vision_config.hidden_size;
        self
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const KEY: &str = "image_text_hidden_size";
        self.vision_config.tower().validate()?;
        self.text_config.validate()?;
        check_size("config", KEY, self.image_text_hidden_size, WIDTH)
    }

    /// Checks that a decoder can read questions: they are as wide as the text model, and its
    /// cross-attention is made for the width of pictures.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate_answering(&self) -> Result<(), ConfigError> {
        let (text, vision) = (self.text_config.hidden_size, self.vision_config.hidden_size);
        if text == vision {
            return Ok(());
        }
        let reason = format!("is not the {vision} of vision_config, whose width the decoder reads");
        Err(ConfigError::value(
            "text_config",
            "hidden_size",
            text,
            reason,
        ))
    }
}

/// `BlipTextConfig`: BERT with cross-attention in every layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, tag = "model_type", rename = "blip_text_model")]
#[non_exhaustive]
pub struct BlipTextConfig {
    /// The size of the vocabulary. Default 30524.
    pub vocab_size: usize,
    /// The width of a token. Default 768.
    pub hidden_size: usize,
    /// The width of the encoded picture; [`BlipConfig::joined`] sets it. Default 768.
    pub encoder_hidden_size: usize,
    /// The width inside the MLP. Default 3072.
    pub intermediate_size: usize,
    /// The number of layers. Default 12.
    pub num_hidden_layers: usize,
    /// The number of attention heads. Default 8.
    pub num_attention_heads: usize,
    /// The longest text, in tokens. Default 512.
    pub max_position_embeddings: usize,
    /// The activation of the MLP and of the output head. Default `gelu`.
    pub hidden_act: Activation,
    /// The epsilon of the layer norms. Default 1e-12.
    pub layer_norm_eps: f64,
    /// The token that a decoder begins with. Default 30522.
    #[serde(deserialize_with = "one_or_none")]
    pub bos_token_id: Option<u32>,
    /// What configurations call the end token; texts end with `sep_token_id`. Default 2.
    #[serde(deserialize_with = "one_or_many")]
    #[serde(serialize_with = "one_if_single")]
    pub eos_token_id: Vec<u32>,
    /// The padding token. Default 0.
    #[serde(deserialize_with = "one_or_none")]
    pub pad_token_id: Option<u32>,
    /// The token that ends a text. Default 102.
    #[serde(deserialize_with = "one_or_none")]
    pub sep_token_id: Option<u32>,
    /// Whether layers have cross-attention. Default true.
    pub is_decoder: bool,
    /// Label smoothing of the training loss. Default 0.
    pub label_smoothing: f64,
}

setters! { BlipTextConfig {
    with_vocab_size(vocab_size: usize),
    with_hidden_size(hidden_size: usize),
    with_encoder_hidden_size(encoder_hidden_size: usize),
    with_intermediate_size(intermediate_size: usize),
    with_num_hidden_layers(num_hidden_layers: usize),
    with_num_attention_heads(num_attention_heads: usize),
    with_max_position_embeddings(max_position_embeddings: usize),
    with_hidden_act(hidden_act: Activation),
    with_layer_norm_eps(layer_norm_eps: f64),
    with_bos_token_id(bos_token_id: Option<u32>),
    with_eos_token_id(eos_token_id: Vec<u32>),
    with_pad_token_id(pad_token_id: Option<u32>),
    with_sep_token_id(sep_token_id: Option<u32>),
    with_is_decoder(is_decoder: bool),
    with_label_smoothing(label_smoothing: f64),
} }

impl Default for BlipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30524,
            hidden_size: 768,
            encoder_hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 512,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            bos_token_id: Some(30522),
            eos_token_id: vec![2],
            pad_token_id: Some(0),
            sep_token_id: Some(102),
            is_decoder: true,
            label_smoothing: 0.0,
        }
    }
}

impl BlipTextConfig {
    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const PART: &str = "text_config";
        check_heads(
            PART,
            "hidden_size",
            self.hidden_size,
            self.num_attention_heads,
        )?;
        check_epsilon(PART, "layer_norm_eps", self.layer_norm_eps)?;
        for (key, value, largest) in [
            ("vocab_size", self.vocab_size, TOKENS),
            ("encoder_hidden_size", self.encoder_hidden_size, WIDTH),
            ("intermediate_size", self.intermediate_size, WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, LAYERS),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                TOKENS,
            ),
        ] {
            check_size(PART, key, value, largest)?;
        }
        let ids = [
            ("bos_token_id", self.bos_token_id),
            ("pad_token_id", self.pad_token_id),
        ];
        for (key, id) in ids {
            if let Some(id) = id
                && id as usize >= self.vocab_size
            {
                let reason = format!("is not below vocab_size = {}", self.vocab_size);
                return Err(ConfigError::value(PART, key, id, reason));
            }
        }
        if !self.is_decoder {
            let reason = "without cross-attention the text model cannot see pictures".into();
            return Err(ConfigError::value(PART, "is_decoder", false, reason));
        }
        Ok(())
    }
}

/// `BlipVisionConfig`; the defaults are ViT-B/16 at 384 pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, tag = "model_type", rename = "blip_vision_model")]
#[non_exhaustive]
pub struct BlipVisionConfig {
    /// The width of a token. Default 768.
    pub hidden_size: usize,
    /// The width inside the MLP. Default 3072.
    pub intermediate_size: usize,
    /// The number of layers. Default 12.
    pub num_hidden_layers: usize,
    /// The number of attention heads. Default 12.
    pub num_attention_heads: usize,
    /// The height and width of the pictures it was trained on, in pixels. Default 384.
    pub image_size: usize,
    /// The height and width of a patch, in pixels. Default 16.
    pub patch_size: usize,
    /// The MLP's activation. Default `gelu`.
    pub hidden_act: Activation,
    /// The epsilon of the layer norms. Default 1e-5.
    pub layer_norm_eps: f64,
}

setters! { BlipVisionConfig {
    with_hidden_size(hidden_size: usize),
    with_intermediate_size(intermediate_size: usize),
    with_num_hidden_layers(num_hidden_layers: usize),
    with_num_attention_heads(num_attention_heads: usize),
    with_image_size(image_size: usize),
    with_patch_size(patch_size: usize),
    with_hidden_act(hidden_act: Activation),
    with_layer_norm_eps(layer_norm_eps: f64),
} }

impl Default for BlipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 384,
            patch_size: 16,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl BlipVisionConfig {
    /// The same tower as BLIP-2 configures it: the two have the same parts, names and order.
    pub fn tower(&self) -> Blip2VisionConfig {
        Blip2VisionConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            image_size: self.image_size,
            patch_size: self.patch_size,
            hidden_act: self.hidden_act,
            layer_norm_eps: self.layer_norm_eps,
            qkv_bias: true,
            ..Blip2VisionConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_configurations_parse_and_nonsense_is_named() {
        let config: BlipConfig = serde_json::from_str(
            r#"{ "model_type": "blip", "text_config": { "num_attention_heads": 12 },
                 "vision_config": { "hidden_size": 1024, "num_attention_heads": 16 } }"#,
        )
        .unwrap();
        let config = config.joined();
        config.validate().unwrap();
        assert_eq!(config.text_config.encoder_hidden_size, 1024);
        assert_eq!(config.vision_config.tower().image_size, 384);
        let fault = |change: fn(&mut BlipConfig)| {
            let mut config = BlipConfig::default();
            change(&mut config);
            config.validate().unwrap_err().key().to_string()
        };
        assert_eq!(fault(|c| c.text_config.is_decoder = false), "is_decoder");
        assert_eq!(
            fault(|c| c.text_config.num_attention_heads = 7),
            "hidden_size"
        );
        assert_eq!(
            fault(|c| c.text_config.bos_token_id = Some(40_000)),
            "bos_token_id"
        );
        assert_eq!(
            fault(|c| c.image_text_hidden_size = 0),
            "image_text_hidden_size"
        );
        assert_eq!(fault(|c| c.vision_config.patch_size = 0), "patch_size");
        let error = config.validate_answering().unwrap_err();
        assert_eq!(error.key(), "hidden_size");
        BlipConfig::default().validate_answering().unwrap();
    }
}
