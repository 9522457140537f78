//! OPT's configuration.

use blip2_kernels::Activation;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    ConfigError, LAYERS, TOKENS, WIDTH, check_heads, check_size, one_if_single, one_or_many,
    one_or_none,
};

/// `OPTConfig`; the defaults are OPT-125M.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OptConfig {
    /// The size of the vocabulary. Default 50272.
    pub vocab_size: usize,
    /// The width of a layer. Default 768.
    pub hidden_size: usize,
    /// The number of layers. Default 12.
    pub num_hidden_layers: usize,
    /// The width inside the MLP. Default 3072.
    pub ffn_dim: usize,
    /// The longest context, in tokens. Default 2048.
    pub max_position_embeddings: usize,
    /// Whether norms stand before attention and MLP (all sizes but 350M) or after. Default true.
    pub do_layer_norm_before: bool,
    /// Whether the norm after the last layer is left out. Default false.
    #[serde(rename = "_remove_final_layer_norm")]
    pub remove_final_layer_norm: bool,
    /// The width of the token embeddings. Default: `hidden_size`.
    pub word_embed_proj_dim: usize,
    /// Dropout of hidden states while training. Default 0.1.
    pub dropout: f64,
    /// Dropout of attention maps while training. Default 0.
    pub attention_dropout: f64,
    /// The number of attention heads. Default 12.
    pub num_attention_heads: usize,
    /// The MLP's activation. Default `relu`.
    pub activation_function: Activation,
    /// The standard deviation of initial weights. Default 0.02.
    pub init_std: f64,
    /// The padding id. Default 1.
    pub pad_token_id: Option<u32>,
    /// The id that begins a text. Default 2.
    pub bos_token_id: Option<u32>,
    /// The ids that end a text. Default 2.
    #[serde(serialize_with = "one_if_single")]
    pub eos_token_id: Vec<u32>,
    /// Whether the linear layers have a bias. Default true.
    pub enable_bias: bool,
    /// Whether the norms have scales and offsets. Default true.
    pub layer_norm_elementwise_affine: bool,
    /// Whether the output head is the table of token embeddings. Default true.
    pub tie_word_embeddings: bool,
}

setters! { OptConfig {
    with_vocab_size(vocab_size: usize),
    with_hidden_size(hidden_size: usize),
    with_num_hidden_layers(num_hidden_layers: usize),
    with_ffn_dim(ffn_dim: usize),
    with_max_position_embeddings(max_position_embeddings: usize),
    with_do_layer_norm_before(do_layer_norm_before: bool),
    with_remove_final_layer_norm(remove_final_layer_norm: bool),
    with_word_embed_proj_dim(word_embed_proj_dim: usize),
    with_dropout(dropout: f64),
    with_attention_dropout(attention_dropout: f64),
    with_num_attention_heads(num_attention_heads: usize),
    with_activation_function(activation_function: Activation),
    with_init_std(init_std: f64),
    with_pad_token_id(pad_token_id: Option<u32>),
    with_bos_token_id(bos_token_id: Option<u32>),
    with_eos_token_id(eos_token_id: Vec<u32>),
    with_enable_bias(enable_bias: bool),
    with_layer_norm_elementwise_affine(layer_norm_elementwise_affine: bool),
    with_tie_word_embeddings(tie_word_embeddings: bool),
} }

impl Default for OptConfig {
    fn default() -> Self {
        Raw::default().into()
    }
}

impl<'de> Deserialize<'de> for OptConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Into::into)
    }
}

/// The file's form: a width that defaults to another one.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    ffn_dim: usize,
    max_position_embeddings: usize,
    do_layer_norm_before: bool,
    #[serde(rename = "_remove_final_layer_norm")]
    remove_final_layer_norm: bool,
    word_embed_proj_dim: Option<usize>,
    dropout: f64,
    attention_dropout: f64,
    num_attention_heads: usize,
    activation_function: Activation,
    init_std: f64,
    #[serde(deserialize_with = "one_or_none")]
    pad_token_id: Option<u32>,
    #[serde(deserialize_with = "one_or_none")]
    bos_token_id: Option<u32>,
    #[serde(deserialize_with = "one_or_many")]
    eos_token_id: Vec<u32>,
    enable_bias: bool,
    layer_norm_elementwise_affine: bool,
    tie_word_embeddings: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            vocab_size: 50272,
            hidden_size: 768,
            num_hidden_layers: 12,
            ffn_dim: 3072,
            max_position_embeddings: 2048,
            do_layer_norm_before: true,
            remove_final_layer_norm: false,
            word_embed_proj_dim: None,
            dropout: 0.1,
            attention_dropout: 0.0,
            num_attention_heads: 12,
            activation_function: Activation::Relu,
            init_std: 0.02,
            pad_token_id: Some(1),
            bos_token_id: Some(2),
            eos_token_id: vec![2],
            enable_bias: true,
            layer_norm_elementwise_affine: true,
            tie_word_embeddings: true,
        }
    }
}

impl From<Raw> for OptConfig {
    fn from(raw: Raw) -> Self {
        Self {
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            num_hidden_layers: raw.num_hidden_layers,
            ffn_dim: raw.ffn_dim,
            max_position_embeddings: raw.max_position_embeddings,
            do_layer_norm_before: raw.do_layer_norm_before,
            remove_final_layer_norm: raw.remove_final_layer_norm,
            word_embed_proj_dim: raw.word_embed_proj_dim.unwrap_or(raw.hidden_size),
            dropout: raw.dropout,
            attention_dropout: raw.attention_dropout,
            num_attention_heads: raw.num_attention_heads,
            activation_function: raw.activation_function,
            init_std: raw.init_std,
            pad_token_id: raw.pad_token_id,
            bos_token_id: raw.bos_token_id,
            eos_token_id: raw.eos_token_id,
            enable_bias: raw.enable_bias,
            layer_norm_elementwise_affine: raw.layer_norm_elementwise_affine,
            tie_word_embeddings: raw.tie_word_embeddings,
        }
    }
}

impl OptConfig {
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
        for (key, value, largest) in [
            ("vocab_size", self.vocab_size, TOKENS),
            ("num_hidden_layers", self.num_hidden_layers, LAYERS),
            ("ffn_dim", self.ffn_dim, WIDTH),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                TOKENS,
            ),
            ("word_embed_proj_dim", self.word_embed_proj_dim, WIDTH),
        ] {
            check_size(PART, key, value, largest)?;
        }
        Ok(())
    }
}
