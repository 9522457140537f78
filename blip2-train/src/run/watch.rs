//! Who sees a training go on.

use std::path::Path;

use blip2_io::dataset::BrokenRecord;

use super::record::{Record, Score};

/// Sees a training go on; does nothing by itself.
pub trait Watch {
    /// A step was made.
    fn stepped(&mut self, record: &Record) {
        let _ = record;
    }

    /// A picture cannot be decoded and is left out; told in the first epoch.
    fn left_out(&mut self, record: &BrokenRecord) {
        let _ = record;
    }

    /// The model is about to be evaluated, which may take long.
    fn scoring(&mut self, step: usize) {
        let _ = step;
    }

    /// The model was evaluated; before the first step, `score.step` is 0.
    fn scored(&mut self, score: &Score) {
        let _ = score;
    }

    /// A training goes on from a state that was saved after `step` steps.
    fn resumed(&mut self, step: usize) {
        let _ = step;
    }

    /// A state, or a file beside it, is damaged and passed over.
    fn passed_over(&mut self, path: &Path, reason: &str) {
        let _ = (path, reason);
    }
}

/// Nobody watches.
impl Watch for () {}

impl<W: Watch + ?Sized> Watch for Box<W> {
    fn stepped(&mut self, record: &Record) {
        (**self).stepped(record);
    }

    fn left_out(&mut self, record: &BrokenRecord) {
        (**self).left_out(record);
    }

    fn scoring(&mut self, step: usize) {
        (**self).scoring(step);
    }

    fn scored(&mut self, score: &Score) {
        (**self).scored(score);
    }

    fn resumed(&mut self, step: usize) {
        (**self).resumed(step);
    }

    fn passed_over(&mut self, path: &Path, reason: &str) {
        (**self).passed_over(path, reason);
    }
}
