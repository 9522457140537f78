//! The files of a state.

/// What is trained.
pub(super) const TRAINED: &str = "trained.safetensors";
/// The optimizer's moments.
pub(super) const OPTIMIZER: &str = "optimizer.safetensors";
/// How far the training is.
pub(super) const PROGRESS: &str = "progress.json";
/// What the names of further sets of tensors end with.
pub(super) const KEPT_SET: &str = "kept.safetensors";
/// The hashes of all others.
pub(super) const CONTENTS: &str = "contents.json";
