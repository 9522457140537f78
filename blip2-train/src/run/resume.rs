//! What a state of the loop holds, beside what is trained.

use std::path::PathBuf;

use burn::module::Module;

use super::{record::Metrics, steps::Run, watch::Watch};
use crate::{error::TrainError, state::Progress};

/// The set of tensors of the exponential moving average.
const AVERAGE: &str = "average";
/// The set of tensors of the best model.
const BEST: &str = "best";

impl<M: Module> Run<'_, M> {
    /// Goes on from the last state, if there is one.
    pub(super) fn resume(&mut self, watch: &mut impl Watch) -> Result<(), TrainError> {
        let Some(folder) = &self.recipe.states else {
            return Ok(());
        };
        let Some(state) = self.trained.resume(&mut self.optimizer, folder)? else {
            return Ok(());
        };
        self.notes = state.notes(folder)?;
        if let Some(average) = &mut self.average {
            average.restore(state.tensors(AVERAGE), state.step);
        }
        self.best = self.notes.best.map(|_| state.tensors(BEST));
        self.metrics = Metrics::load(folder, state.step)?;
        self.spent = self.metrics.spent();
        watch.resumed(state.step);
        Ok(())
    }

    pub(super) fn save(&self) -> Result<(), TrainError> {
        let Some(folder) = &self.recipe.states else {
            return Ok(());
        };
        // Metrics before the state: rows of steps that a state does not know are dropped.
        self.metrics.save(folder)?;
        let mut progress = Progress::new(self.optimizer.steps(), &self.notes)?;
        if let Some(average) = &self.average {
            progress.keep(AVERAGE, average.values(&self.trained));
        }
        if let Some(best) = &self.best {
            progress.keep(BEST, best.clone());
        }
        let _: PathBuf = self
            .trained
            .save_state(&self.optimizer, &progress, folder)?;
        Ok(())
    }
}
