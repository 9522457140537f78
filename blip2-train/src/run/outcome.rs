//! How a training ended.

use super::record::{Metrics, Score};
use crate::trained::Trained;

/// How a training ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome<M> {
    /// The model: the best that was evaluated, else the last.
    pub trained: Trained<M>,
    /// What was seen of each step and evaluation.
    pub metrics: Metrics,
    /// The best score, if the objective gives any.
    pub best: Option<Score>,
    /// Whether it ended because the score no longer rose.
    pub stopped_early: bool,
}
