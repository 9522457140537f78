//! OPT (Zhang et al., 2022): a decoder-only transformer with learned positions.

mod layer;
mod model;
mod position;

pub use model::{OptForCausalLm, OptOutput};
