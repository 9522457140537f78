//! LLaMA (Touvron et al., 2023) and what has its architecture, such as Vicuna: a decoder-only
//! transformer whose positions turn queries and keys.

mod layer;
mod model;
mod rotary;

pub use model::{LlamaForCausalLm, LlamaOutput};

/// A running decode of LLaMA: prompts, then one token at a time with a KV cache.
pub type LlamaSession<'m> = crate::causal::CausalSession<&'m LlamaForCausalLm>;
