//! Where a training is.

use serde::{Deserialize, Serialize};

use super::record::Score;

/// What a state says besides numbers of tensors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    pub(super) epoch: u64,
    /// How many batches of the epoch were seen.
    pub(super) batch: usize,
    pub(super) best: Option<Score>,
    /// How many evaluations in a row were not better.
    pub(super) waiting: usize,
    /// After how many steps it was evaluated last.
    pub(super) scored: Option<usize>,
    /// What its scores are of: others are not comparable.
    pub(super) measure: Option<String>,
}
