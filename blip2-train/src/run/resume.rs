//! What a state of the loop holds, beside what is trained.

use std::path::{Path, PathBuf};

use burn::module::Module;
use serde_json::Value;

use super::{notes::Notes, record::Metrics, steps::Run, watch::Watch};
use crate::{
    error::TrainError,
    group::{agreed, sent, told},
    state::{Progress, last_notes, moments_of, with_moments},
};

/// What scores are of now.
pub(super) struct Measure {
    pub(super) own: Option<String>,
    /// Without what hangs on which examples can be used.
    pub(super) whole: Option<String>,
}

/// The set of tensors of the exponential moving average.
const AVERAGE: &str = "average";
/// The set of tensors of the best model.
const BEST: &str = "best";

/// What the training is whose states are in `folder`, as the last state that says it
/// [was told](crate::Recipe::with_about); `None` if none does.
pub fn told_by(folder: impl AsRef<Path>) -> Option<Value> {
    let states = last_notes(folder.as_ref());
    let mut notes = states
        .into_iter()
        .filter_map(|notes| serde_json::from_value::<Notes>(notes).ok());
    notes.find_map(|notes| notes.about)
}

impl<M: Module> Run<'_, M> {
    /// Goes on from the last whole state, if there is one. `measure` is what scores are of now.
    ///
    /// Process 0 reads it, and sends all that it began with to the others, be there a state or none.
    pub(super) fn resume(
        &mut self,
        measure: Measure,
        watch: &mut impl Watch,
    ) -> Result<(), TrainError> {
        let read = match self.group.rank() {
            0 => self.read(measure, watch),
            _ => Ok(()),
        };
        agreed(self.group, read)?;
        if self.group.size() > 1 {
            self.send()?;
        }
        Ok(())
    }

    /// Has every process begin with what process 0 has.
    fn send(&mut self) -> Result<(), TrainError> {
        let group = self.group;
        let steps = told(group, &self.optimizer.steps())?;
        self.notes = told(group, &self.notes.written())?.exact();
        let values = sent(group, self.trained.values())?;
        let moments = sent(group, moments_of(&self.optimizer))?;
        let average = self.average.as_ref();
        let average = average.filter(|own| !own.is_empty());
        let average = average.map(|own| own.values(&self.trained));
        let average = sent(group, average.unwrap_or_default())?;
        let best = sent(group, self.best.clone().unwrap_or_default())?;
        if group.rank() == 0 {
            return Ok(());
        }
        let path = Path::new("process 0");
        self.trained.restore(&values, path)?;
        self.optimizer.states = with_moments(moments, steps, &self.trained, path)?;
        self.optimizer.steps = steps;
        if let (Some(own), false) = (&mut self.average, average.is_empty()) {
            own.restore(average, steps);
        }
        self.best = Some(best).filter(|best| !best.is_empty());
        Ok(())
    }

    fn read(&mut self, measure: Measure, watch: &mut impl Watch) -> Result<(), TrainError> {
        let Measure { own, whole } = &measure;
        self.notes.measure.clone_from(own);
        self.notes.whole.clone_from(whole);
        let Some(folder) = &self.recipe.states else {
            return Ok(());
        };
        let state = match self.recipe.trial {
            true => self.trained.peek(&mut self.optimizer, folder)?,
            false => self.trained.resume(&mut self.optimizer, folder)?,
        };
        let Some(state) = state else {
            return Ok(());
        };
        for (path, reason) in state.passed_over() {
            watch.passed_over(path, reason);
        }
        self.restore(&state, measure, folder)?;
        let (metrics, faults) = Metrics::recover(folder, state.step);
        for (path, fault) in faults {
            watch.passed_over(&path, &fault);
        }
        self.metrics = metrics;
        self.tell_of_before(watch);
        // Its last digits are exact there.
        let scores = self.metrics.scores.iter();
        let mut exact = scores.filter(|own| {
            let best = self.notes.best.as_ref();
            best.is_some_and(|best| best.step == own.step && best.value == own.value)
        });
        if let Some(own) = exact.next().cloned() {
            self.notes.best = Some(own);
        }
        self.spent = self.metrics.spent();
        self.saved = Some((state.step, state.path().to_path_buf()));
        watch.resumed(state.step);
        Ok(())
    }

    /// Takes what a state says beside what is trained. A best score of another kind than scores are now is
    /// found again, of the model that had it.
    fn restore(
        &mut self,
        state: &Progress,
        measure: Measure,
        folder: &Path,
    ) -> Result<(), TrainError> {
        let Measure { own, whole } = measure;
        let notes = state.notes::<Notes>(folder)?.exact();
        let is_other = notes.measure.is_some() && notes.measure != own;
        if let (Some(best), Some(before), None) = (&notes.best, &notes.measure, &own) {
            let reason = format!(
                "its best score, {:.4} after {} steps, is of {before}, and nothing is scored now: whether a later \
                 model is better could not be known; score by something, or give another folder",
                best.value, best.step
            );
            return Err(TrainError::state(state.path(), reason));
        }
        // Of the same examples, some of which broke meanwhile, what was found of it counts still.
        let is_again = is_other && whole.is_some() && notes.whole == whole;
        let (waiting, scored) = match is_other && !is_again {
            true => (0, None),
            false => (notes.waiting, notes.scored),
        };
        self.notes = Notes {
            stale_best: notes.stale_best || (is_other && notes.best.is_some()),
            waiting,
            scored,
            stale_before: notes.stale_before || is_other,
            measure: own,
            whole,
            about: None,
            ..notes
        };
        let average = state.tensors(AVERAGE);
        if let (Some(own), false) = (&mut self.average, average.is_empty()) {
            self.trained.check_values(&average, state.path())?;
            own.restore(average, state.step);
        }
        if self.notes.best.is_some() {
            let best = state.tensors(BEST);
            self.trained.check_values(&best, state.path())?;
            self.best = Some(best);
        }
        Ok(())
    }

    /// Says that the score before the first step is not compared with, where it is of another kind.
    fn tell_of_before(&self, watch: &mut impl Watch) {
        let before = self.metrics.scores.iter().find(|score| score.step == 0);
        if let (Some(before), true) = (before, self.notes.stale_before) {
            watch.noted(&format!(
                "the score before the first step, {:.4}, is of other examples or settings than scores are \
                 now: it is not compared with",
                before.value
            ));
        }
    }

    /// Saves a state, if states are saved, of numbers that are some.
    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        let saved = match self.group.rank() {
            0 => self.check_finite().and_then(|()| self.write()),
            _ => Ok(()),
        };
        agreed(self.group, saved).map(|_| ())
    }

    fn write(&mut self) -> Result<(), TrainError> {
        let Some(folder) = self.recipe.written() else {
            return Ok(());
        };
        // Metrics before the state: rows of steps that a state does not know are dropped.
        self.write_metrics();
        let step = self.optimizer.steps();
        let notes = Notes {
            about: self.recipe.about.clone(),
            ..self.notes.written()
        };
        let mut progress = Progress::new(step, &notes)?;
        if let Some(average) = &self.average {
            progress.keep(AVERAGE, average.values(&self.trained));
        }
        if let Some(best) = &self.best {
            progress.keep(BEST, best.clone());
        }
        let path: PathBuf = self
            .trained
            .save_state(&self.optimizer, &progress, folder)?;
        self.saved = Some((step, path));
        Ok(())
    }

    /// Writes what was seen, where states are saved. That it cannot be is told, and keeps no state from being saved.
    pub(super) fn write_metrics(&mut self) {
        let Some(folder) = self.recipe.written().filter(|_| self.group.rank() == 0) else {
            return;
        };
        if let Err(error) = self.metrics.save(folder) {
            self.unwritten = Some(error.to_string());
        }
    }

    /// Tells that what was seen could not be written, once for each reason.
    pub(super) fn tell_unwritten(&mut self, watch: &mut impl Watch) {
        let Some(reason) = self.unwritten.take() else {
            return;
        };
        if self.told.insert(reason.clone()) {
            watch.noted(&format!("metrics and curve are not written: {reason}"));
        }
    }
}
