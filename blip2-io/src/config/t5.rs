//! T5's configuration.

use blip2_kernels::Activation;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Value, json};

use super::{
    ConfigError, LAYERS, TOKENS, WIDTH, check_epsilon, check_size, one_if_single, one_or_many,
    one_or_none,
};

/// `T5Config`; the defaults are T5 small.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct T5Config {
    /// The size of the vocabulary. Default 32128.
    pub vocab_size: usize,
    /// The width of a layer. Default 512.
    pub d_model: usize,
    /// The width of an attention head. Default 64.
    pub d_kv: usize,
    /// The width inside the MLP. Default 2048.
    pub d_ff: usize,
    /// The number of encoder layers. Default 6.
    pub num_layers: usize,
    /// The number of decoder layers. Default: `num_layers`.
    pub num_decoder_layers: usize,
    /// The number of attention heads. Default 8.
    pub num_heads: usize,
    /// The number of buckets for relative positions. Default 32.
    pub relative_attention_num_buckets: usize,
    /// From this distance on, all positions share a bucket. Default 128.
    pub relative_attention_max_distance: usize,
    /// Dropout while training. Default 0.1.
    pub dropout_rate: f64,
    /// The epsilon of the norms. Default 1e-6.
    pub layer_norm_epsilon: f64,
    /// A factor on the standard deviation of initial weights. Default 1.
    pub initializer_factor: f64,
    /// The MLP's activation. Default `relu`; `gated-gelu` in `feed_forward_proj` means `gelu_new`
    /// unless the file says otherwise by `dense_act_fn`.
    pub dense_act_fn: Activation,
    /// Whether the MLP's activation gates a second projection. Default false.
    pub is_gated_act: bool,
    /// The padding id. Default 0.
    pub pad_token_id: Option<u32>,
    /// The id that stands for a missing prompt. Default none.
    pub bos_token_id: Option<u32>,
    /// The ids that end a text. Default 1.
    #[serde(serialize_with = "one_if_single")]
    pub eos_token_id: Vec<u32>,
    /// The id that the decoder starts from. Default: `pad_token_id`.
    pub decoder_start_token_id: Option<u32>,
    /// Whether the decoder's output is scaled by `d_model^-0.5` before the head. Default: unless
    /// the file says `tie_word_embeddings: false`.
    pub scale_decoder_outputs: bool,
}

setters! { T5Config {
    with_vocab_size(vocab_size: usize),
    with_d_model(d_model: usize),
    with_d_kv(d_kv: usize),
    with_d_ff(d_ff: usize),
    with_num_layers(num_layers: usize),
    with_num_decoder_layers(num_decoder_layers: usize),
    with_num_heads(num_heads: usize),
    with_relative_attention_num_buckets(relative_attention_num_buckets: usize),
    with_relative_attention_max_distance(relative_attention_max_distance: usize),
    with_dropout_rate(dropout_rate: f64),
    with_layer_norm_epsilon(layer_norm_epsilon: f64),
    with_initializer_factor(initializer_factor: f64),
    with_dense_act_fn(dense_act_fn: Activation),
    with_is_gated_act(is_gated_act: bool),
    with_pad_token_id(pad_token_id: Option<u32>),
    with_bos_token_id(bos_token_id: Option<u32>),
    with_eos_token_id(eos_token_id: Vec<u32>),
    with_decoder_start_token_id(decoder_start_token_id: Option<u32>),
    with_scale_decoder_outputs(scale_decoder_outputs: bool),
} }

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_decoder_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            dropout_rate: 0.1,
            layer_norm_epsilon: 1e-6,
            initializer_factor: 1.0,
            dense_act_fn: Activation::Relu,
            is_gated_act: false,
            pad_token_id: Some(0),
            bos_token_id: None,
            eos_token_id: vec![1],
            decoder_start_token_id: Some(0),
            scale_decoder_outputs: true,
        }
    }
}

/// The file's form: four keys have a second spelling, `feed_forward_proj` names both the activation
/// and the gating, and the flags of the output's scale depend on each other.
#[derive(Deserialize)]
struct Raw {
    vocab_size: Option<usize>,
    d_model: Option<usize>,
    hidden_size: Option<usize>,
    d_kv: Option<usize>,
    head_dim: Option<usize>,
    d_ff: Option<usize>,
    num_layers: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_decoder_layers: Option<usize>,
    num_heads: Option<usize>,
    num_attention_heads: Option<usize>,
    relative_attention_num_buckets: Option<usize>,
    relative_attention_max_distance: Option<usize>,
    dropout_rate: Option<f64>,
    layer_norm_epsilon: Option<f64>,
    initializer_factor: Option<f64>,
    feed_forward_proj: Option<String>,
    dense_act_fn: Option<Activation>,
    is_gated_act: Option<bool>,
    #[serde(default = "zero", deserialize_with = "one_or_none")]
    pad_token_id: Option<u32>,
    #[serde(default, deserialize_with = "one_or_none")]
    bos_token_id: Option<u32>,
    #[serde(default = "one", deserialize_with = "one_or_many")]
    eos_token_id: Vec<u32>,
    #[serde(default, deserialize_with = "one_or_none")]
    decoder_start_token_id: Option<u32>,
    tie_word_embeddings: Option<bool>,
    scale_decoder_outputs: Option<bool>,
}

fn zero() -> Option<u32> {
    Some(0)
}

fn one() -> Vec<u32> {
    vec![1]
}

/// The T5 that an `MT5Config` describes: the same model with other defaults, and an output that is
/// never scaled, whatever the file says of its embeddings.
pub(super) fn of_mt5(mut value: Value) -> Value {
    let defaults = [
        ("vocab_size", "vocab_size", json!(250_112)),
        ("d_ff", "d_ff", json!(1024)),
        ("num_layers", "num_hidden_layers", json!(8)),
        ("num_heads", "num_attention_heads", json!(6)),
        (
            "feed_forward_proj",
            "feed_forward_proj",
            json!("gated-gelu"),
        ),
    ];
    if let Some(keys) = value.as_object_mut() {
        for (key, alias, default) in defaults {
            if !keys.contains_key(alias) {
                keys.entry(key).or_insert(default);
            }
        }
        keys.insert("scale_decoder_outputs".into(), false.into());
    }
    value
}

impl<'de> Deserialize<'de> for T5Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let default = Self::default();
        let projection = raw.feed_forward_proj.as_deref().unwrap_or("relu");
        let (gated, name) = match projection.split_once('-') {
            None => (false, projection),
            Some(("gated", "gelu")) => (true, "gelu_new"),
            Some(("gated", name)) => (true, name),
            Some(_) => {
                return Err(D::Error::custom(format!(
                    "feed_forward_proj = `{projection}` is neither `ACTIVATION` nor \
                     `gated-ACTIVATION`"
                )));
            }
        };
        let named = || Activation::deserialize(serde::de::value::StrDeserializer::new(name));
        let num_layers = raw
            .num_layers
            .or(raw.num_hidden_layers)
            .unwrap_or(default.num_layers);
        Ok(Self {
            vocab_size: raw.vocab_size.unwrap_or(default.vocab_size),
            d_model: raw.d_model.or(raw.hidden_size).unwrap_or(default.d_model),
            d_kv: raw.d_kv.or(raw.head_dim).unwrap_or(default.d_kv),
            d_ff: raw.d_ff.unwrap_or(default.d_ff),
            num_layers,
            num_decoder_layers: raw.num_decoder_layers.unwrap_or(num_layers),
            num_heads: raw
                .num_heads
                .or(raw.num_attention_heads)
                .unwrap_or(default.num_heads),
            relative_attention_num_buckets: raw
                .relative_attention_num_buckets
                .unwrap_or(default.relative_attention_num_buckets),
            relative_attention_max_distance: raw
                .relative_attention_max_distance
                .unwrap_or(default.relative_attention_max_distance),
            dropout_rate: raw.dropout_rate.unwrap_or(default.dropout_rate),
            layer_norm_epsilon: raw.layer_norm_epsilon.unwrap_or(default.layer_norm_epsilon),
            initializer_factor: raw.initializer_factor.unwrap_or(default.initializer_factor),
            dense_act_fn: raw.dense_act_fn.map_or_else(named, Ok)?,
            is_gated_act: raw.is_gated_act.unwrap_or(gated),
            pad_token_id: raw.pad_token_id,
            bos_token_id: raw.bos_token_id,
            eos_token_id: raw.eos_token_id,
            decoder_start_token_id: raw.decoder_start_token_id.or(raw.pad_token_id),
            scale_decoder_outputs: raw
                .scale_decoder_outputs
                .unwrap_or(raw.tie_word_embeddings != Some(false)),
        })
    }
}

impl T5Config {
    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const PART: &str = "text_config";
        for (key, value, largest) in [
            ("vocab_size", self.vocab_size, TOKENS),
            ("d_model", self.d_model, WIDTH),
            ("d_kv", self.d_kv, WIDTH),
            ("d_ff", self.d_ff, WIDTH),
            ("num_layers", self.num_layers, LAYERS),
            ("num_decoder_layers", self.num_decoder_layers, LAYERS),
            ("num_heads", self.num_heads, WIDTH),
        ] {
            check_size(PART, key, value, largest)?;
        }
        let together = self.d_kv.saturating_mul(self.num_heads);
        check_size(PART, "d_kv · num_heads", together, WIDTH)?;
        let (key, buckets) = (
            "relative_attention_num_buckets",
            self.relative_attention_num_buckets,
        );
        check_size(PART, key, buckets, WIDTH)?;
        check_epsilon(PART, "layer_norm_epsilon", self.layer_norm_epsilon)?;
        // The encoder halves the buckets for the two directions, and half of those are exact.
        if self.relative_attention_num_buckets < 4 {
            return Err(ConfigError::value(
                PART,
                "relative_attention_num_buckets",
                self.relative_attention_num_buckets,
                "must be at least 4".into(),
            ));
        }
        let exact = self.relative_attention_num_buckets / 2;
        if self.relative_attention_max_distance <= exact {
            return Err(ConfigError::value(
                PART,
                "relative_attention_max_distance",
                self.relative_attention_max_distance,
                format!("must be above half of relative_attention_num_buckets, {exact}"),
            ));
        }
        Ok(())
    }
}
