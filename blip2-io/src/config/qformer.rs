//! The Q-Former's configuration.

use blip2_kernels::Activation;
use serde::{Deserialize, Serialize};

use super::{
    ConfigError, LAYERS, TOKENS, WIDTH, check_epsilon, check_heads, check_size, one_or_none,
};

/// `Blip2QFormerConfig`; the defaults are BERT base with cross-attention in every second layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, tag = "model_type", rename = "blip_2_qformer")]
#[non_exhaustive]
pub struct Blip2QFormerConfig {
    /// The size of the text vocabulary. Default 30522.
    pub vocab_size: usize,
    /// The width of a token. Default 768.
    pub hidden_size: usize,
    /// The number of layers. Default 12.
    pub num_hidden_layers: usize,
    /// The number of attention heads. Default 12.
    pub num_attention_heads: usize,
    /// The width inside the MLP. Default 3072.
    pub intermediate_size: usize,
    /// The MLP's activation. Default `gelu`.
    pub hidden_act: Activation,
    /// Dropout of hidden states while training. Default 0.1.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention maps while training. Default 0.1.
    pub attention_probs_dropout_prob: f64,
    /// The longest text, in tokens. Default 512.
    pub max_position_embeddings: usize,
    /// The standard deviation of initial weights. Default 0.02.
    pub initializer_range: f64,
    /// The epsilon of the layer norms. Default 1e-12.
    pub layer_norm_eps: f64,
    /// The padding id of texts. Default 0.
    #[serde(deserialize_with = "one_or_none")]
    pub pad_token_id: Option<u32>,
    /// How positions are encoded; only `absolute` is known. Default `absolute`.
    pub position_embedding_type: String,
    /// Layers whose index, from 0, is a multiple of this have cross-attention. Default 2.
    pub cross_attention_frequency: usize,
    /// The width of the encoded picture. `Blip2Config` sets it to the vision tower's width.
    /// Default 1408.
    pub encoder_hidden_size: usize,
    /// Whether the layers have a branch for text beside the one for queries. Default false.
    pub use_qformer_text_input: bool,
}

setters! { Blip2QFormerConfig {
    with_vocab_size(vocab_size: usize),
    with_hidden_size(hidden_size: usize),
    with_num_hidden_layers(num_hidden_layers: usize),
    with_num_attention_heads(num_attention_heads: usize),
    with_intermediate_size(intermediate_size: usize),
    with_hidden_act(hidden_act: Activation),
    with_hidden_dropout_prob(hidden_dropout_prob: f64),
    with_attention_probs_dropout_prob(attention_probs_dropout_prob: f64),
    with_max_position_embeddings(max_position_embeddings: usize),
    with_initializer_range(initializer_range: f64),
    with_layer_norm_eps(layer_norm_eps: f64),
    with_pad_token_id(pad_token_id: Option<u32>),
    with_position_embedding_type(position_embedding_type: String),
    with_cross_attention_frequency(cross_attention_frequency: usize),
    with_encoder_hidden_size(encoder_hidden_size: usize),
    with_use_qformer_text_input(use_qformer_text_input: bool),
} }

impl Default for Blip2QFormerConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(0),
            position_embedding_type: "absolute".to_string(),
            cross_attention_frequency: 2,
            encoder_hidden_size: 1408,
            use_qformer_text_input: false,
        }
    }
}

impl Blip2QFormerConfig {
    /// Whether layer `layer`, counted from 0, has cross-attention.
    pub fn has_cross_attention(&self, layer: usize) -> bool {
        self.cross_attention_frequency > 0 && layer.is_multiple_of(self.cross_attention_frequency)
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_as("qformer_config")
    }

    /// [`validate`](Self::validate) of what stands in a configuration as `part`.
    pub(super) fn validate_as(&self, part: &'static str) -> Result<(), ConfigError> {
        check_heads(
            part,
            "hidden_size",
            self.hidden_size,
            self.num_attention_heads,
        )?;
        for (key, value, largest) in [
            ("num_hidden_layers", self.num_hidden_layers, LAYERS),
            ("intermediate_size", self.intermediate_size, WIDTH),
            (
                "cross_attention_frequency",
                self.cross_attention_frequency,
                usize::MAX,
            ),
            ("encoder_hidden_size", self.encoder_hidden_size, WIDTH),
        ] {
            check_size(part, key, value, largest)?;
        }
        check_epsilon(part, "layer_norm_eps", self.layer_norm_eps)?;
        if self.use_qformer_text_input {
            check_size(part, "vocab_size", self.vocab_size, TOKENS)?;
            let (key, positions) = ("max_position_embeddings", self.max_position_embeddings);
            check_size(part, key, positions, TOKENS)?;
        }
        if self.position_embedding_type != "absolute" {
            return Err(ConfigError::value(
                part,
                "position_embedding_type",
                &self.position_embedding_type,
                "only `absolute` is supported".into(),
            ));
        }
        Ok(())
    }
}
