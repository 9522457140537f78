//! LLaMA's configuration.

use blip2_kernels::Activation;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    ConfigError, LAYERS, RopeParameters, RopeType, TOKENS, WIDTH, check_epsilon, check_heads,
    check_size, one_if_single, one_or_many, one_or_none,
};

/// `LlamaConfig`; the defaults are LLaMA-7B.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LlamaConfig {
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
    /// In how many slices the matrices were multiplied while pretraining, which changes nothing
    /// but the order of sums. Default 1.
    pub pretraining_tp: usize,
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
}

setters! { LlamaConfig {
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
    with_pretraining_tp(pretraining_tp: usize),
    with_tie_word_embeddings(tie_word_embeddings: bool),
    with_rope_parameters(rope_parameters: RopeParameters),
    with_attention_bias(attention_bias: bool),
    with_attention_dropout(attention_dropout: f64),
    with_mlp_bias(mlp_bias: bool),
} }

impl Default for LlamaConfig {
    fn default() -> Self {
        Raw::default().into()
    }
}

impl<'de> Deserialize<'de> for LlamaConfig {
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
    pretraining_tp: Option<usize>,
    tie_word_embeddings: bool,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<RopeParameters>,
    rope_theta: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    attention_bias: bool,
    attention_dropout: Option<f64>,
    mlp_bias: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            vocab_size: 32000,
            hidden_size: 4096,
            intermediate_size: 11008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            hidden_act: Activation::Silu,
            max_position_embeddings: 2048,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            pad_token_id: None,
            bos_token_id: Some(1),
            eos_token_id: vec![2],
            pretraining_tp: None,
            tie_word_embeddings: false,
            rope_parameters: None,
            rope_scaling: None,
            rope_theta: None,
            original_max_position_embeddings: None,
            attention_bias: false,
            attention_dropout: None,
            mlp_bias: false,
        }
    }
}

impl From<Raw> for LlamaConfig {
    fn from(raw: Raw) -> Self {
        // The older spelling goes before the newer one, as in the reference.
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
            pretraining_tp: raw.pretraining_tp.unwrap_or(1),
            tie_word_embeddings: raw.tie_word_embeddings,
            rope_parameters: rope_of(rope, raw.rope_theta, raw.original_max_position_embeddings),
            attention_bias: raw.attention_bias,
            attention_dropout: raw.attention_dropout.unwrap_or(0.0),
            mlp_bias: raw.mlp_bias,
        }
    }
}

/// Rotary positions as a file spells them: the base, and the context that a model was pretrained with,
/// may stand beside them.
pub(super) fn rope_of(
    rope: Option<RopeParameters>,
    theta: Option<f64>,
    original: Option<usize>,
) -> RopeParameters {
    let mut rope = rope.unwrap_or_default();
    rope.rope_theta = rope.rope_theta.or(theta).or(Some(1e4));
    rope.original_max_position_embeddings = original.or(rope.original_max_position_embeddings);
    rope
}

impl LlamaConfig {
    /// How many positions a text may have; `None` where the rotary positions' base grows with the text, which has no
    /// end then. All others were trained up to one.
    pub fn context(&self) -> Option<usize> {
        let stretches = self.rope_parameters.rope_type == RopeType::Dynamic;
        (!stretches).then_some(self.max_position_embeddings)
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const PART: &str = "text_config";
        let heads = self.num_attention_heads;
        check_heads(PART, "hidden_size", self.hidden_size, heads)?;
        for (key, value, largest) in [
            ("vocab_size", self.vocab_size, TOKENS),
            ("num_hidden_layers", self.num_hidden_layers, LAYERS),
            ("intermediate_size", self.intermediate_size, WIDTH),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                TOKENS,
            ),
            ("num_key_value_heads", self.num_key_value_heads, WIDTH),
            ("head_dim", self.head_dim, WIDTH),
        ] {
            check_size(PART, key, value, largest)?;
        }
        let together = self.head_dim.saturating_mul(heads);
        check_size(PART, "head_dim · num_attention_heads", together, WIDTH)?;
        check_epsilon(PART, "rms_norm_eps", self.rms_norm_eps)?;
        if !heads.is_multiple_of(self.num_key_value_heads) {
            let reason = format!("must divide num_attention_heads = {heads}");
            let (key, value) = ("num_key_value_heads", self.num_key_value_heads);
            return Err(ConfigError::value(PART, key, value, reason));
        }
        if !self.head_dim.is_multiple_of(2) {
            let reason = "must be even: rotary positions rotate pairs of numbers".into();
            return Err(ConfigError::value(PART, "head_dim", self.head_dim, reason));
        }
        self.rope_parameters.validate(self.head_dim)
    }
}
