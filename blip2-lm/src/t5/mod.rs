//! T5 (Raffel et al., 2020) and Flan-T5: an encoder and a decoder with relative positions.

mod attention;
mod feed_forward;
mod model;
mod output;
mod position;
mod session;
mod stack;
mod state;

pub use model::T5ForConditionalGeneration;
pub use output::{T5Encoded, T5Output};
pub(crate) use state::T5State;
