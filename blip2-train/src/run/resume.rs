//! What a state of the loop holds, beside what is trained.

use std::path::{Path, PathBuf};

use burn::module::Module;

use super::{notes::Notes, record::Metrics, steps::Run, watch::Watch};
use crate::{error::TrainError, state::Progress};

/// The set of tensors of the exponential moving average.
const AVERAGE: &str = "average";
/// The set of tensors of the best model.
const BEST: &str = "best";

impl<M: Module> Run<'_, M> {
    /// Goes on from the last whole state, if there is one. `measure` is what scores are of now.
    pub(super) fn resume(
        &mut self,
        measure: Option<String>,
        watch: &mut impl Watch,
    ) -> Result<(), TrainError> {
        self.notes.measure.clone_from(&measure);
        let Some(folder) = &self.recipe.states else {
            return Ok(());
        };
        let Some(state) = self.trained.resume(&mut self.optimizer, folder)? else {
            return Ok(());
        };
        for (path, reason) in state.passed_over() {
            watch.passed_over(path, reason);
        }
        self.restore(&state, measure, folder)?;
        self.metrics = Metrics::load(folder, state.step).unwrap_or_else(|error| {
            watch.passed_over(folder, &format!("earlier steps are not told: {error}"));
            Metrics::default()
        });
        self.spent = self.metrics.spent();
        self.saved = Some((state.step, state.path().to_path_buf()));
        watch.resumed(state.step);
        Ok(())
    }

    fn restore(
        &mut self,
        state: &Progress,
        measure: Option<String>,
        folder: &Path,
    ) -> Result<(), TrainError> {
        let notes: Notes = state.notes(folder)?;
        if let (Some(best), Some(before)) = (&notes.best, &notes.measure)
            && measure.as_ref() != Some(before)
        {
            let now = measure.as_deref().unwrap_or("nothing");
            let reason = format!(
                "its best score, {:.4} after {} steps, is of another kind ({before}) than scores are \
                 now ({now}): they cannot be compared; score as before, or give another folder",
                best.value, best.step
            );
            return Err(TrainError::state(state.path(), reason));
        }
        self.notes = Notes { measure, ..notes };
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

    /// Saves a state, if states are saved.
    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        let Some(folder) = &self.recipe.states else {
            return Ok(());
        };
        // Metrics before the state: rows of steps that a state does not know are dropped.
        self.metrics.save(folder)?;
        let step = self.optimizer.steps();
        let mut progress = Progress::new(step, &self.notes)?;
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

    /// Saves what was seen, where states are saved.
    pub(super) fn save_metrics(&self) -> Result<(), TrainError> {
        match &self.recipe.states {
            Some(folder) => self.metrics.save(folder),
            None => Ok(()),
        }
    }
}
