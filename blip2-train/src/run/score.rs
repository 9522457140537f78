//! Evaluations of a training, and what follows from them.

use std::collections::BTreeMap;

use blip2_io::dataset::BrokenRecord;
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
    /// What comes before the first step that this process makes. A model that is not evaluated is scored on
    /// a few examples: what cannot be scored is better known now.
    ///
    /// Evaluates where that is due where the training stands: before the first step of all, or where
    /// another process began an evaluation and did not end it. A trial of a step does not.
    pub(super) fn before_first_step(
        &mut self,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<(), TrainError> {
        let step = self.optimizer.steps();
        let due = match step {
            0 => self.recipe.baseline,
            _ => self.is_scored_after(step),
        };
        if self.recipe.trial || !(due || self.notes.stale_best) {
            let lr = self.rate(step.saturating_sub(1));
            let (cancel, group) = (&self.recipe.cancel, self.group);
            let model = self.trained.with_values(&self.values())?.into_model();
            let tried = objective.try_score(&model, cancel, group);
            agreed(group, tried.map_err(|error| error.of_score(step, lr)))?;
            return Ok(());
        }
        while self.score_best_again(objective, watch)? {}
        if due && self.notes.scored != Some(step) {
            self.evaluate(objective, watch)?;
        }
        Ok(())
    }

    /// Whether the model is evaluated after this number of steps.
    pub(super) fn is_scored_after(&self, step: usize) -> bool {
        step >= self.planned() || is_due(step, self.recipe.evaluate_every)
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
        let values = self.values();
        watch.scoring(step);
        let mut found = self.scored(&values, step, objective, watch)?;
        // What the best one's score was of, or this one's, may have grown less.
        while self.score_best_again(objective, watch)? {
            found = self.scored(&values, step, objective, watch)?;
        }
        self.notes.scored = Some(step);
        let Some(score) = found else {
            return Ok(false);
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

    /// Scores the best model again, if its score is of other examples or another kind than scores are now; true
    /// if something was left out while it did, so that the score that it is compared with is too.
    pub(super) fn score_best_again(
        &mut self,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<bool, TrainError> {
        if !std::mem::take(&mut self.notes.stale_best) {
            return Ok(false);
        }
        let (Some(before), Some(values)) = (self.notes.best.clone(), self.best.clone()) else {
            return Ok(false);
        };
        let again = self.scored(&values, before.step, objective, watch);
        let Some(again) = again.inspect_err(|_| self.notes.stale_best = true)? else {
            return Ok(false);
        };
        watch.noted(&format!(
            "the best model, of {} steps, was scored again, as scores are found now: {:.4}, which was {:.4}",
            before.step, again.value, before.value
        ));
        self.notes.best = Some(again);
        Ok(std::mem::take(&mut self.notes.stale_best))
    }

    /// The score of `values`, which `step` steps made. What breaks meanwhile is told, and what was found
    /// before is then of other examples.
    fn scored(
        &mut self,
        values: &BTreeMap<String, TensorData>,
        step: usize,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<Option<Score>, TrainError> {
        let lr = self.rate(step.saturating_sub(1));
        let model = self.trained.with_values(values)?.into_model();
        let (cancel, group) = (&self.recipe.cancel, self.group);
        let found = objective.score_together(&model, cancel, group);
        let found = found.map_err(|error| error.of_score(step, lr));
        let mut left_out = match &found {
            Ok(Some(found)) => found.left_out.clone(),
            _ => Vec::new(),
        };
        let found = scores_of_first(group, found)?;
        if !left_out.is_empty() {
            self.notes.stale_best = self.notes.best.is_some();
            self.notes.stale_before = true;
            self.notes.measure = objective.measure();
        }
        let held_out = self.recipe.held_out.as_ref().filter(|_| found.is_some());
        let loss = held_out
            .map(|loader| mean_loss(&model, loader, objective, cancel, group, &mut left_out));
        let loss = loss.transpose().map_err(|error| error.of_score(step, lr))?;
        self.tell_left_out(&left_out, watch);
        let Some(Scores { value, others, .. }) = found else {
            return Ok(None);
        };
        if !value.is_finite() {
            return Err(TrainError::NotFinite {
                what: "the score".into(),
                value: value as f32,
                step,
                lr: Some(lr),
            });
        }
        Ok(Some(Score {
            step,
            value,
            loss: loss.flatten(),
            others,
        }))
    }

    /// Tells each record that is left out once.
    pub(super) fn tell_left_out(&mut self, records: &[BrokenRecord], watch: &mut impl Watch) {
        for record in records {
            if self.told.insert(record.to_string()) {
                watch.left_out(record);
            }
        }
    }

    /// Keeps the best of the trained models.
    fn compare(&mut self, score: &Score, values: BTreeMap<String, TensorData>) {
        let best = self.notes.best.as_ref();
        if best.is_none_or(|best| is_better(score, best)) {
            self.notes.best = Some(score.clone());
            self.best = Some(values);
            self.notes.waiting = 0;
        } else if best.is_some_and(|best| best.step != score.step) {
            self.notes.waiting += 1;
        }
    }
}

/// Whether a model is better than the best before it. Where scores are equal, as those of a model that has
/// nothing right yet, the loss tells; where that is equal too, or there is none, the first stays.
fn is_better(score: &Score, best: &Score) -> bool {
    let is_lower = || match (score.loss, best.loss) {
        (Some(loss), Some(least)) => loss < least,
        _ => false,
    };
    score.value > best.value || (score.value == best.value && is_lower())
}

/// The scores that process 0 found, for all of them.
fn scores_of_first(
    group: &dyn Group,
    own: Result<Option<Scores>, TrainError>,
) -> Result<Option<Scores>, TrainError> {
    // As bits: JSON has no number for what is none.
    let told = own.map(|own| {
        own.map(|Scores { value, others, .. }| {
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
            left_out: Vec::new(),
        }
    }))
}
