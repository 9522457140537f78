//! What distinguishes one decoder-only model from another.

use blip2_io::config::RopeParameters;
use blip2_kernels::Activation;

use crate::error::LmError;

/// A configuration that describes a decoder-only model.
pub(crate) trait Described {
    /// The model's description.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    fn describe(&self) -> Result<Description, LmError>;
}

/// A decoder-only model without its weights.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) vocab_size: usize,
    /// The padding id, whose embedding learns nothing from being read.
    pub(crate) pad_token_id: Option<u32>,
    /// The width of token embeddings, and of what the head reads. Where it is not `hidden_size`,
    /// two projections stand around the layers.
    pub(crate) embedding_dim: usize,
    /// The width of a layer.
    pub(crate) hidden_size: usize,
    /// The width inside the MLP.
    pub(crate) intermediate_size: usize,
    pub(crate) num_layers: usize,
    pub(crate) num_heads: usize,
    /// The heads of keys and values: each serves a group of `num_heads / num_key_value_heads` heads
    /// of queries (grouped-query attention; Ainslie et al., 2023).
    pub(crate) num_key_value_heads: usize,
    pub(crate) head_dim: usize,
    /// How many positions a text may have; `None` for any number.
    pub(crate) context: Option<usize>,
    pub(crate) positions: Positions,
    /// Whether the reference's `forward` counts padding in positions where it is given none. Its
    /// `generate` never does.
    pub(crate) forward_counts_padding: bool,
    pub(crate) norm: NormKind,
    pub(crate) norm_place: NormPlace,
    /// Whether a norm stands after the last layer.
    pub(crate) final_norm: bool,
    pub(crate) activation: Activation,
    /// Whether the projections of attention have biases.
    pub(crate) attention_bias: bool,
    /// Whether the MLP has biases.
    pub(crate) mlp_bias: bool,
    /// Whether the head is the table of token embeddings.
    pub(crate) tied_head: bool,
    pub(crate) scales: Scales,
    pub(crate) names: Names,
}

/// How a model knows where a token stands.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a model has one
pub(crate) enum Positions {
    /// A learned vector for each position is added to the embeddings.
    Learned {
        /// The number of positions.
        count: usize,
        /// Where position 0 is in the table; padding, which has no position, is one place before.
        offset: usize,
    },
    /// Queries and keys are rotated by angles that grow with the position (Su et al., 2021).
    Rotary {
        /// How angles grow, and how they are stretched to longer texts.
        rope: Box<RopeParameters>,
        /// The longest text that the configuration names.
        longest: usize,
    },
}

/// The kind of a model's norms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NormKind {
    /// Layer norm; with `affine` it has a learned scale and offset.
    Layer { eps: f64, affine: bool },
    /// Root-mean-square norm.
    Rms { eps: f64 },
}

/// Where the norms of a layer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormPlace {
    /// `x + f(norm(x))`: pre-norm.
    Before,
    /// `norm(x + f(x))`: post-norm.
    After,
}

/// The factors that a model multiplies its parts by, as Granite does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scales {
    /// Of the embeddings, before positions are added (`embedding_multiplier`). It multiplies those
    /// that a caller gives too, as in the reference.
    pub(crate) embedding: f64,
    /// Of the scores of attention, before their softmax (`attention_multiplier`). Usually
    /// [`one over the square root`](Scales::usual) of a head's width.
    pub(crate) attention: f64,
    /// Of what each sublayer adds to the residual stream (`residual_multiplier`).
    pub(crate) residual: f64,
    /// What logits are divided by (`logits_scaling`).
    pub(crate) logits_divisor: f64,
}

impl Scales {
    /// None but that of attention (Vaswani et al., 2017, section 3.2.1).
    pub(crate) fn usual(head_dim: usize) -> Self {
        Self {
            embedding: 1.0,
            attention: (head_dim as f64).powf(-0.5),
            residual: 1.0,
            logits_divisor: 1.0,
        }
    }
}

/// What a checkpoint calls the parts, in the Hugging Face's names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// What all but the head is below.
    pub(crate) model: &'static str,
    /// The norm after the last layer.
    pub(crate) final_norm: &'static str,
    pub(crate) layer: LayerNames,
}

/// The names in a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerNames {
    pub(crate) attention_norm: &'static str,
    /// The projection of attention's output.
    pub(crate) attention_output: &'static str,
    pub(crate) mlp_norm: &'static str,
    pub(crate) mlp_up: &'static str,
    /// Where the MLP is gated: what passes the activation and multiplies `mlp_up`.
    pub(crate) mlp_gate: Option<&'static str>,
    pub(crate) mlp_down: &'static str,
}
