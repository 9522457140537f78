//! Evaluations of a training, and what follows from them.

use std::collections::BTreeMap;

use burn::{module::Module, tensor::TensorData};

use super::{
    held_out::mean_loss,
    objective::{Objective, Scores},
    record::Score,
    steps::{Run, is_due},
    watch::Watch,
};
use crate::{
    error::TrainError,
    group::{Group, agreed},
};

impl<M: Module> Run<'_, M> {
    /// Makes the evaluation that is due where the training stands and was not made: the one before the
    /// first step, or one that another process began and did not end.
    pub(super) fn score_what_is_due(
        &mut self,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<(), TrainError> {
        let step = self.optimizer.steps();
        let due = match step {
            0 => self.recipe.baseline,
            _ => self.is_scored_after(step),
        };
        if due && self.notes.scored != Some(step) {
            self.evaluate(objective, watch)?;
        }
        Ok(())
    }

    /// Whether the model is evaluated after this number of steps.
    pub(super) fn is_scored_after(&self, step: usize) -> bool {
        step >= self.recipe.steps || is_due(step, self.recipe.evaluate_every)
    }

    /// Whether the score no longer rises.
    pub(super) fn has_waited_enough(&self) -> bool {
        let patience = self.recipe.patience;
        patience.is_some_and(|patience| self.notes.waiting >= patience)
    }

    /// The values that are evaluated: averaged, if they are averaged.
    pub(super) fn values(&self) -> BTreeMap<String, TensorData> {
        match &self.average {
            Some(average) => average.values(&self.trained),
            None => self.trained.values(),
        }
    }

    /// Evaluates the model; false if nobody knows how good it is.
    pub(super) fn evaluate(
        &mut self,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<bool, TrainError> {
        let step = self.optimizer.steps();
        let lr = self.recipe.schedule.at(step.saturating_sub(1));
        let values = self.values();
        let model = self.trained.with_values(&values)?.into_model();
        watch.scoring(step);
        let found = objective.score_together(&model, &self.recipe.cancel, self.group);
        let found = found.map_err(|error| error.of_score(step, lr));
        let found = scores_of_first(self.group, found)?;
        let held_out = self.recipe.held_out.as_ref().filter(|_| found.is_some());
        let (cancel, group) = (&self.recipe.cancel, self.group);
        let loss = held_out.map(|loader| mean_loss(&model, loader, objective, cancel, group));
        let loss = loss.transpose().map_err(|error| error.of_score(step, lr))?;
        self.notes.scored = Some(step);
        let Some(Scores { value, others }) = found else {
            return Ok(false);
        };
        if !value.is_finite() {
            return Err(TrainError::NotFinite {
                what: "the score".into(),
                value: value as f32,
                step,
                lr: Some(lr),
            });
        }
        let score = Score {
            step,
            value,
            loss: loss.flatten(),
            others,
        };
        // One that was made again, by a process that went on, replaces the first.
        self.metrics.scores.retain(|other| other.step != step);
        self.metrics.scores.push(score.clone());
        if step > 0 {
            self.compare(&score, values);
        }
        watch.scored(&score);
        Ok(true)
    }

    /// Keeps the best of the trained models.
    fn compare(&mut self, score: &Score, values: BTreeMap<String, TensorData>) {
        let best = self.notes.best.as_ref();
        if best.is_none_or(|best| score.value > best.value) {
            self.notes.best = Some(score.clone());
            self.best = Some(values);
            self.notes.waiting = 0;
        } else if best.is_some_and(|best| best.step != score.step) {
            self.notes.waiting += 1;
        }
    }
}

/// The scores that process 0 found, for all of them.
fn scores_of_first(
    group: &dyn Group,
    own: Result<Option<Scores>, TrainError>,
) -> Result<Option<Scores>, TrainError> {
    // As bits: JSON has no number for what is none.
    let told = own.map(|own| {
        own.map(|Scores { value, others }| {
            let others = others.into_iter();
            let others = others.map(|(name, value)| (name, value.to_bits()));
            (value.to_bits(), others.collect::<BTreeMap<_, _>>())
        })
    });
    let first = agreed(group, told)?.into_iter().next().flatten();
    Ok(first.map(|(value, others)| {
        let others = others.into_iter();
        let others = others.map(|(name, value)| (name, f64::from_bits(value)));
        Scores {
            value: f64::from_bits(value),
            others: others.collect(),
        }
    }))
}
