//! OPT (Zhang et al., 2022): a decoder-only transformer with learned positions.

mod layer;
mod model;
mod position;

pub use model::{OptForCausalLm, OptOutput};

/// A running decode of OPT: prompts, then one token at a time with a KV cache.
pub type OptSession<'m> = crate::causal::CausalSession<&'m OptForCausalLm>;
