//! LLaMA (Touvron et al., 2023) and what has its architecture, such as Vicuna: a decoder-only
//! transformer whose positions turn queries and keys.

mod layer;
mod model;
mod rotary;

pub use model::{LlamaForCausalLm, LlamaOutput};
