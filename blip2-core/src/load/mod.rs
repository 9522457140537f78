//! One loader for every member of the family: where everything comes from, what may be set, and
//! what a loaded model has beside its weights.
//!
//! Data flows one way: a [`Builder`] holds a source and settings; the source is opened
//! ([`source`]); the member reads its texts' and pictures' parts and builds its model from watched
//! weights ([`watched`]); [`Loaded`] is what comes of it, behind each member's handle.

mod adapted;
mod builder;
mod loaded;
mod member;
mod opened;
mod part;
mod pictures;
mod progress;
mod settings;
mod source;
mod switch;
mod versions;
mod watched;

pub use builder::Builder;
pub(crate) use loaded::member;
pub use member::Member;
pub(crate) use member::{FolderConfig, Handle, Load, Loaded};
pub(crate) use opened::Opened;
pub(crate) use part::Part;
pub(crate) use pictures::Pictures;
pub use progress::LoadProgress;
pub(crate) use settings::{Settings, Takes};
pub(crate) use versions::NamedAdapter;

/// Tensors that checkpoints of a BLIP-2 with a language model hold without the model reading them:
/// duplicates of tied weights, and buffers of old versions.
pub(crate) const IGNORABLE_OF_ANSWERING: [&str; 6] = [
    // Early T5 checkpoints hold one that the model never used.
    "EncDecAttention.relative_attention_bias.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "lm_head.weight",
    "position_ids",
    "embed_positions.weights",
];

/// Buffers of old versions, which any checkpoint may hold.
pub(crate) const IGNORABLE: [&str; 1] = ["position_ids"];

/// The same of a Granite Speech: copies of tied heads, and what batch norms count while they are trained.
pub(crate) const IGNORABLE_OF_SPEECH: [&str; 3] =
    ["lm_head.weight", "num_batches_tracked", "attention_dists"];

/// The same of a model of retrieval, and what the first stage trains beside it.
pub(crate) const IGNORABLE_BESIDE_RETRIEVAL: [&str; 7] = [
    "position_ids",
    "temp",
    "cls.predictions.bias",
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.predictions.transform.LayerNorm.bias",
];
