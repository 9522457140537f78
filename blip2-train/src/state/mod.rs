//! States: what a training that is interrupted goes on from.
//!
//! A folder of states has a folder for each, `step-000000200`, with `trained.safetensors`,
//! `optimizer.safetensors`, `progress.json`, and a `NAME.kept.safetensors` for each further set of
//! tensors. It is written beside its name and renamed when it is whole.

mod file;
mod folder;
mod moments;
mod progress;
mod resume;
mod tensors;

pub use progress::Progress;

pub(crate) use file::write_file;
pub(crate) use tensors::{floats, save_tensors, write_tensors};

/// What is trained.
const TRAINED: &str = "trained.safetensors";
/// The optimizer's moments.
const OPTIMIZER: &str = "optimizer.safetensors";
const PROGRESS: &str = "progress.json";
/// What the names of further sets of tensors end with.
const KEPT_SET: &str = "kept.safetensors";
