//! Granite's configuration.

use blip2_kernels::Activation;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    ConfigError, LlamaConfig, RopeParameters, llama::rope_of, one_if_single, one_or_many,
    one_or_none,
};

/// `GraniteConfig`: a LLaMA whose parts are multiplied by four numbers. The defaults are those of
/// `transformers`, with which all four change nothing.
///
/// ```
/// use blip2_io::config::GraniteConfig;
///
/// let config: GraniteConfig = serde_json::from_str(
///     r#"{ "hidden_size": 2048, "embedding_multiplier": 12, "attention_multiplier": 0.015625 }"#,
/// )?;
/// assert_eq!(config.embedding_multiplier, 12.0);
/// assert_eq!(config.residual_multiplier, 1.0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GraniteConfig {
    /// The size of the vocabulary. Default 32000.
    pub vocab_size: usize,
    /// The width of a layer. Default 4096.
    pub hidden_size: usize,
    /// The width inside the MLP. Default 11008.
    pub intermediate_size: usize,
    /// The number of layers. Default 32.
    pub num_hidden_layers: usize,
    /// The number of attention heads. Default 32.
    pub num_attention_heads: usize,
    /// The number of heads of keys and values, each of which serves a group of attention heads
    /// (Ainslie et al., 2023). Default: `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// The width of a head. Default: `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// The MLP's activation. Default `silu`.
    pub hidden_act: Activation,
    /// The longest context, in tokens. Default 2048.
    pub max_position_embeddings: usize,
    /// The standard deviation of initial weights. Default 0.02.
    pub initializer_range: f64,
    /// The epsilon of the norms. Default 1e-6.
    pub rms_norm_eps: f64,
    /// The padding id. Default none.
    pub pad_token_id: Option<u32>,
    /// The id that begins a text. Default 1.
    pub bos_token_id: Option<u32>,
    /// The ids that end a text. Default 2.
    #[serde(serialize_with = "one_if_single")]
    pub eos_token_id: Vec<u32>,
    /// Whether the output head is the table of token embeddings. Default false.
    pub tie_word_embeddings: bool,
    /// The rotary position embeddings; also spelled `rope_theta` and `rope_scaling`. Default:
    /// unscaled, of base 10000.
    pub rope_parameters: RopeParameters,
    /// Whether queries, keys, values and the attention's output have a bias. Default false.
    pub attention_bias: bool,
    /// Dropout of attention maps while training. Default 0.
    pub attention_dropout: f64,
    /// Whether the MLP has biases. Default false.
    pub mlp_bias: bool,
    /// What token embeddings are multiplied by. Default 1.
    pub embedding_multiplier: f64,
    /// What logits are divided by. Default 1.
    pub logits_scaling: f64,
    /// What a sublayer's output is multiplied by before it is added to the residual stream.
    /// Default 1.
    pub residual_multiplier: f64,
    /// What attention scores are multiplied by, in place of one over the square root of a head's
    /// width. Default 1.
    pub attention_multiplier: f64,
}

setters! { GraniteConfig {
    with_vocab_size(vocab_size: usize),
    with_hidden_size(hidden_size: usize),
    with_intermediate_size(intermediate_size: usize),
    with_num_hidden_layers(num_hidden_layers: usize),
    with_num_attention_heads(num_attention_heads: usize),
    with_num_key_value_heads(num_key_value_heads: usize),
    with_head_dim(head_dim: usize),
    with_hidden_act(hidden_act: Activation),
    with_max_position_embeddings(max_position_embeddings: usize),
    with_initializer_range(initializer_range: f64),
    with_rms_norm_eps(rms_norm_eps: f64),
    with_pad_token_id(pad_token_id: Option<u32>),
    with_bos_token_id(bos_token_id: Option<u32>),
    with_eos_token_id(eos_token_id: Vec<u32>),
    with_tie_word_embeddings(tie_word_embeddings: bool),
    with_rope_parameters(rope_parameters: RopeParameters),
    with_attention_bias(attention_bias: bool),
    with_attention_dropout(attention_dropout: f64),
    with_mlp_bias(mlp_bias: bool),
    with_embedding_multiplier(embedding_multiplier: f64),
    with_logits_scaling(logits_scaling: f64),
    with_residual_multiplier(residual_multiplier: f64),
    with_attention_multiplier(attention_multiplier: f64),
} }

impl Default for GraniteConfig {
    fn default() -> Self {
        Raw::default().into()
    }
}

impl<'de> Deserialize<'de> for GraniteConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Into::into)
    }
}

/// The file's form: widths that default to others, and positions in several spellings.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: Activation,
    max_position_embeddings: usize,
    initializer_range: f64,
    rms_norm_eps: f64,
    #[serde(deserialize_with = "one_or_none")]
    pad_token_id: Option<u32>,
    #[serde(deserialize_with = "one_or_none")]
    bos_token_id: Option<u32>,
    #[serde(deserialize_with = "one_or_many")]
    eos_token_id: Vec<u32>,
    tie_word_embeddings: bool,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<RopeParameters>,
    rope_theta: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    attention_bias: bool,
    attention_dropout: Option<f64>,
    mlp_bias: bool,
    embedding_multiplier: f64,
    logits_scaling: f64,
    residual_multiplier: f64,
    attention_multiplier: f64,
}

impl Default for Raw {
    fn default() -> Self {
        let llama = LlamaConfig::default();
        Self {
            vocab_size: llama.vocab_size,
            hidden_size: llama.hidden_size,
            intermediate_size: llama.intermediate_size,
            num_hidden_layers: llama.num_hidden_layers,
            num_attention_heads: llama.num_attention_heads,
            num_key_value_heads: None,
            head_dim: None,
            hidden_act: llama.hidden_act,
            max_position_embeddings: llama.max_position_embeddings,
            initializer_range: llama.initializer_range,
            rms_norm_eps: llama.rms_norm_eps,
            pad_token_id: llama.pad_token_id,
            bos_token_id: llama.bos_token_id,
            eos_token_id: llama.eos_token_id,
            tie_word_embeddings: llama.tie_word_embeddings,
            rope_parameters: None,
            rope_scaling: None,
            rope_theta: None,
            original_max_position_embeddings: None,
            attention_bias: llama.attention_bias,
            attention_dropout: None,
            mlp_bias: llama.mlp_bias,
            embedding_multiplier: 1.0,
            logits_scaling: 1.0,
            residual_multiplier: 1.0,
            attention_multiplier: 1.0,
        }
    }
}

impl From<Raw> for GraniteConfig {
    fn from(raw: Raw) -> Self {
        let rope = raw.rope_scaling.or(raw.rope_parameters);
        Self {
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            num_key_value_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
            head_dim: raw
                .head_dim
                .unwrap_or_else(|| raw.hidden_size / raw.num_attention_heads.max(1)),
            hidden_act: raw.hidden_act,
            max_position_embeddings: raw.max_position_embeddings,
            initializer_range: raw.initializer_range,
            rms_norm_eps: raw.rms_norm_eps,
            pad_token_id: raw.pad_token_id,
            bos_token_id: raw.bos_token_id,
            eos_token_id: raw.eos_token_id,
            tie_word_embeddings: raw.tie_word_embeddings,
            rope_parameters: rope_of(rope, raw.rope_theta, raw.original_max_position_embeddings),
            attention_bias: raw.attention_bias,
            attention_dropout: raw.attention_dropout.unwrap_or(0.0),
            mlp_bias: raw.mlp_bias,
            embedding_multiplier: raw.embedding_multiplier,
            logits_scaling: raw.logits_scaling,
            residual_multiplier: raw.residual_multiplier,
            attention_multiplier: raw.attention_multiplier,
        }
    }
}

impl GraniteConfig {
    /// The LLaMA that has the same tensors: all that the multipliers leave as it is, such as sizes
    /// and what they take in memory.
    pub fn to_llama(&self) -> LlamaConfig {
        LlamaConfig::default()
            .with_vocab_size(self.vocab_size)
            .with_hidden_size(self.hidden_size)
            .with_intermediate_size(self.intermediate_size)
            .with_num_hidden_layers(self.num_hidden_layers)
            .with_num_attention_heads(self.num_attention_heads)
            .with_num_key_value_heads(self.num_key_value_heads)
            .with_head_dim(self.head_dim)
            .with_hidden_act(self.hidden_act)
            .with_max_position_embeddings(self.max_position_embeddings)
            .with_initializer_range(self.initializer_range)
            .with_rms_norm_eps(self.rms_norm_eps)
            .with_pad_token_id(self.pad_token_id)
            .with_bos_token_id(self.bos_token_id)
            .with_eos_token_id(self.eos_token_id.clone())
            .with_tie_word_embeddings(self.tie_word_embeddings)
            .with_rope_parameters(self.rope_parameters.clone())
            .with_attention_bias(self.attention_bias)
            .with_attention_dropout(self.attention_dropout)
            .with_mlp_bias(self.mlp_bias)
    }

    /// How many positions a text may have; `None` where the rotary positions' base grows with the
    /// text, as of [`LlamaConfig::context`].
    pub fn context(&self) -> Option<usize> {
        self.to_llama().context()
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.to_llama().validate()?;
        for (key, value) in [
            ("embedding_multiplier", self.embedding_multiplier),
            ("residual_multiplier", self.residual_multiplier),
            ("attention_multiplier", self.attention_multiplier),
            ("logits_scaling", self.logits_scaling),
        ] {
            let reason = match value {
                _ if !value.is_finite() => "must be finite",
                0.0 if key == "logits_scaling" => "must not be 0: logits are divided by it",
                _ => continue,
            };
            return Err(ConfigError::value("text_config", key, value, reason.into()));
        }
        Ok(())
    }
}
