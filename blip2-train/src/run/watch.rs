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

    /// A picture cannot be decoded and is left out; told once.
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

    /// This number of steps is made in all, those before included: another one than the recipe's.
    fn planned(&mut self, steps: usize) {
        let _ = steps;
    }

    /// A state, or a file beside it, is damaged and passed over.
    fn passed_over(&mut self, path: &Path, reason: &str) {
        let _ = (path, reason);
    }

    /// Something that a person should know, in a sentence.
    fn noted(&mut self, text: &str) {
        let _ = text;
    }
}

/// Nobody watches.
impl Watch for () {}

/// Both watch.
impl<A: Watch, B: Watch> Watch for (A, B) {
    fn stepped(&mut self, record: &Record) {
        self.0.stepped(record);
        self.1.stepped(record);
    }

    fn left_out(&mut self, record: &BrokenRecord) {
        self.0.left_out(record);
        self.1.left_out(record);
    }

    fn scoring(&mut self, step: usize) {
        self.0.scoring(step);
        self.1.scoring(step);
    }

    fn scored(&mut self, score: &Score) {
        self.0.scored(score);
        self.1.scored(score);
    }

    fn resumed(&mut self, step: usize) {
        self.0.resumed(step);
        self.1.resumed(step);
    }

    fn planned(&mut self, steps: usize) {
        self.0.planned(steps);
        self.1.planned(steps);
    }

    fn passed_over(&mut self, path: &Path, reason: &str) {
        self.0.passed_over(path, reason);
        self.1.passed_over(path, reason);
    }

    fn noted(&mut self, text: &str) {
        self.0.noted(text);
        self.1.noted(text);
    }
}

/// Someone watches, or nobody.
impl<W: Watch> Watch for Option<W> {
    fn stepped(&mut self, record: &Record) {
        self.iter_mut().for_each(|watch| watch.stepped(record));
    }

    fn left_out(&mut self, record: &BrokenRecord) {
        self.iter_mut().for_each(|watch| watch.left_out(record));
    }

    fn scoring(&mut self, step: usize) {
        self.iter_mut().for_each(|watch| watch.scoring(step));
    }

    fn scored(&mut self, score: &Score) {
        self.iter_mut().for_each(|watch| watch.scored(score));
    }

    fn resumed(&mut self, step: usize) {
        self.iter_mut().for_each(|watch| watch.resumed(step));
    }

    fn planned(&mut self, steps: usize) {
        self.iter_mut().for_each(|watch| watch.planned(steps));
    }

    fn passed_over(&mut self, path: &Path, reason: &str) {
        let watches = self.iter_mut();
        watches.for_each(|watch| watch.passed_over(path, reason));
    }

    fn noted(&mut self, text: &str) {
        self.iter_mut().for_each(|watch| watch.noted(text));
    }
}

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

    fn planned(&mut self, steps: usize) {
        (**self).planned(steps);
    }

    fn passed_over(&mut self, path: &Path, reason: &str) {
        (**self).passed_over(path, reason);
    }

    fn noted(&mut self, text: &str) {
        (**self).noted(text);
    }
}
