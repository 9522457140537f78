//! How a training ended.

use std::{error::Error, fmt, path::PathBuf};

use super::record::{Metrics, Score};
use crate::{error::TrainError, trained::Trained};

/// How a training ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome<M> {
    /// The model: the best that was evaluated while it was trained, else the last.
    pub trained: Trained<M>,
    /// What was seen of each step and evaluation.
    pub metrics: Metrics,
    /// The score before the first step, if it was evaluated then, on what scores are of at the end.
    pub before: Option<Score>,
    /// The best score of the training, if the objective gives any.
    pub best: Option<Score>,
    /// How many steps were made.
    pub steps: usize,
    /// How many there are in all: those of the recipe, unless they
    /// [are those of epochs](super::Recipe::by_epochs) and batches had another size before.
    pub planned: usize,
    /// How many of them this process made.
    pub made: usize,
    /// Why it ended.
    pub ended: Ended,
    /// The last state that was saved, from which the same training goes on.
    pub state: Option<PathBuf>,
}

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// All steps were made.
    Complete,
    /// The score no longer rose.
    Early,
    /// It was [cancelled](super::Recipe::with_cancel).
    Cancelled,
    /// Something failed.
    Failed,
}

/// A training that failed, and what there is of it all the same.
///
/// Whoever has no use for the latter has a [`TrainError`] of it by `?`.
pub struct Unfinished<M> {
    /// What failed.
    pub error: TrainError,
    /// What was trained until then; `None` where no training began.
    pub outcome: Option<Box<Outcome<M>>>,
}

impl<M> fmt::Debug for Unfinished<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.outcome.as_ref().map(|outcome| outcome.steps);
        f.debug_struct("Unfinished")
            .field("error", &self.error)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}

impl<M> fmt::Display for Unfinished<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<M> Error for Unfinished<M> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// A training that did not begin.
impl<M> From<TrainError> for Unfinished<M> {
    fn from(error: TrainError) -> Self {
        let outcome = None;
        Self { error, outcome }
    }
}

impl<M> From<Unfinished<M>> for TrainError {
    fn from(unfinished: Unfinished<M>) -> Self {
        unfinished.error
    }
}
