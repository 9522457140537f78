//! Decoder-only language models: one model, and a description of what differs.
//!
//! OPT, LLaMA and their relatives are the same machine: token embeddings, positions, a stack of
//! layers of causal self-attention and an MLP, a norm, an output head. Where they differ (where a
//! norm stands, how positions enter, which matrices have a bias, by what a sum is multiplied) is
//! data, a [`Description`]. A new model is a folder that makes a description of its configuration,
//! and a line of the table in `language_model.rs`; nothing here learns its name.

mod attention;
mod description;
mod layer;
mod model;
mod norm;
mod output;
mod positions;
mod rotary;

#[cfg(test)]
mod granite_like;

pub(crate) use description::{
    Described, Description, LayerNames, Names, NormKind, NormPlace, Positions, Scales,
};
pub use model::DecoderLm;
pub use output::DecoderOutput;
