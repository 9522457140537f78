//! States: what a training that is interrupted goes on from.
//!
//! A folder of states has a folder for each, `step-000000200`, with `trained.safetensors`,
//! `optimizer.safetensors`, `progress.json`, and a `NAME.kept.safetensors` for each further set of
//! tensors. It is written beside its name and renamed when it is whole. `contents.json` has a hash of
//! each file: a state that lost a tensor, or a bit, would go on along another curve, and is passed over.

mod contents;
mod folder;
mod layout;
mod moments;
mod progress;
mod read;
mod resume;

pub(crate) use folder::take_back;
pub(crate) use moments::{of_tensors as with_moments, to_tensors as moments_of};
pub use progress::Progress;
pub(crate) use read::last_notes;
