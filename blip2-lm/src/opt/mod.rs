//! OPT (Zhang et al., 2022): a decoder-only transformer with learned positions.

mod layer;
mod model;
mod position;
mod session;

pub use model::{OptForCausalLm, OptOutput};
pub use session::OptSession;
