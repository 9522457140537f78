//! The end of a training, whatever ended it.

use blip2_kernels::Recycling;
use burn::module::Module;

use super::{
    outcome::{Ended, Outcome, Unfinished},
    steps::Run,
    watch::Watch,
};
use crate::{error::TrainError, group::agreed, state::take_back};

impl<M: Module> Run<'_, M> {
    /// What there is of the training after its loop ended, or failed.
    pub(super) fn finish(
        mut self,
        ended: Result<Ended, TrainError>,
        watch: &mut impl Watch,
    ) -> Result<Outcome<M>, Unfinished<M>> {
        // The model that is written next needs memory, and no step does.
        Recycling::give_back();
        let closed = |run: &mut Self, ended| match ended {
            Ok(ended) => run.check_finite().map(|()| {
                run.write_metrics();
                ended
            }),
            Err(TrainError::Cancelled) => run.save_rest().map(|()| Ended::Cancelled),
            Err(error) => Err(error),
        };
        let closed = closed(&mut self, ended);
        self.tell_unwritten(watch);
        let mut failed = match closed {
            Ok(ended) => return self.outcome(ended).map_err(Unfinished::from),
            Err(error) => error,
        };
        // That this fails too, as on a full disk, is not what ended the training: but that the
        // numbers are spoilt is worse than whatever did.
        let saved = match is_of_the_numbers(&failed) {
            true => self.take_back(),
            false => self.save_rest(),
        };
        if let Err(error) = saved
            && is_of_the_numbers(&error)
        {
            failed = error;
            let _ = self.take_back();
        }
        self.tell_unwritten(watch);
        Err(match self.outcome(Ended::Failed) {
            Ok(outcome) => Unfinished {
                error: failed,
                outcome: Some(Box::new(outcome)),
            },
            Err(_) => failed.into(),
        })
    }

    /// Saves the steps that no state knows.
    fn save_rest(&mut self) -> Result<(), TrainError> {
        let step = self.optimizer.steps();
        match step == 0 || self.is_saved(step)? {
            true => {
                self.write_metrics();
                Ok(())
            }
            false => self.save(),
        }
    }

    /// Whether process 0 has saved a state of this number of steps.
    fn is_saved(&self, step: usize) -> Result<bool, TrainError> {
        let own = self.saved.as_ref().is_some_and(|(saved, _)| *saved == step);
        let all = agreed(self.group, Ok(own))?;
        Ok(all.first().copied().unwrap_or(own))
    }

    /// Sets a state of spoilt parameters aside: the one before may go on, with another learning rate.
    fn take_back(&mut self) -> Result<(), TrainError> {
        let taken = match self.recipe.written() {
            Some(folder) if self.group.rank() == 0 => take_back(folder, self.optimizer.steps()),
            _ => Ok(None),
        };
        let (saved, taken) = match taken {
            Ok(saved) => (saved, Ok(())),
            Err(error) => (self.saved.take(), Err(error)),
        };
        self.saved = saved;
        agreed(self.group, taken)?;
        self.write_metrics();
        Ok(())
    }

    fn outcome(self, ended: Ended) -> Result<Outcome<M>, TrainError> {
        let planned = self.planned();
        let values = match &self.best {
            Some(best) => best.clone(),
            None => self.values(),
        };
        let mut before = self.metrics.scores.iter();
        let before = before.find(|score| score.step == 0 && !self.notes.stale_before);
        Ok(Outcome {
            trained: self.trained.with_values(&values)?,
            before: before.cloned(),
            best: self.notes.best,
            steps: self.optimizer.steps(),
            planned,
            made: self.optimizer.steps().saturating_sub(self.begun),
            metrics: self.metrics,
            ended,
            state: self.saved.map(|(_, path)| path),
        })
    }
}

/// Whether the parameters themselves are spoilt: a state of them would fail in the same way.
fn is_of_the_numbers(error: &TrainError) -> bool {
    matches!(error, TrainError::NotFinite { .. })
}
