//! The loop itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use blip2_io::dataset::{DatasetError, LoadedBatch, Loader};
use burn::{module::Module, tensor::TensorData};

use super::{
    average::Average,
    gather::{Gathered, Means},
    notes::Notes,
    objective::{At, Objective},
    outcome::Outcome,
    recipe::Recipe,
    record::{Metrics, Record, Score},
    watch::Watch,
};
use crate::{error::TrainError, optimizer::AdamW, trained::Trained};

/// A training that is going on.
pub(super) struct Run<'r, M> {
    pub(super) trained: Trained<M>,
    pub(super) optimizer: AdamW,
    pub(super) average: Option<Average>,
    pub(super) recipe: &'r Recipe,
    pub(super) notes: Notes,
    /// The values of the best model up to now.
    pub(super) best: Option<BTreeMap<String, TensorData>>,
    pub(super) metrics: Metrics,
    /// What earlier processes took.
    pub(super) spent: Duration,
}

/// Whether the loop goes on.
enum Next {
    Step,
    /// All steps were made.
    Done,
    /// The score no longer rises.
    StopEarly,
}

impl<'r, M: Module> Run<'r, M> {
    pub(super) fn new(trained: Trained<M>, optimizer: AdamW, recipe: &'r Recipe) -> Self {
        Self {
            average: recipe.ema.map(Average::new),
            trained,
            optimizer,
            recipe,
            notes: Notes::default(),
            best: None,
            metrics: Metrics::default(),
            spent: Duration::ZERO,
        }
    }

    /// Makes steps until the end; true if it came early.
    pub(super) fn steps(
        &mut self,
        loader: &Loader,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<bool, TrainError> {
        let started = Instant::now();
        while self.optimizer.steps() < self.recipe.steps {
            let (first, before) = (self.notes.batch, self.optimizer.steps());
            let mut gathered = Gathered::default();
            for batch in loader.epoch_from(self.notes.epoch, first) {
                self.notes.batch += 1;
                let Some(batch) = self.whole(batch, loader, watch)? else {
                    continue;
                };
                self.gather(&mut gathered, &batch, objective)?;
                if gathered.batches() < self.recipe.accumulate {
                    continue;
                }
                let elapsed = self.spent + started.elapsed();
                let record = self.step(std::mem::take(&mut gathered).means(), elapsed)?;
                watch.stepped(&record);
                self.metrics.records.push(record);
                match self.after_step(objective, watch)? {
                    Next::Step => {}
                    Next::Done => return Ok(false),
                    Next::StopEarly => return Ok(true),
                }
            }
            if first == 0 && self.optimizer.steps() == before {
                return Err(self.no_step());
            }
            // What is left of an epoch is too little for a step.
            self.notes.epoch += 1;
            self.notes.batch = 0;
        }
        Ok(false)
    }

    /// A batch, unless nothing is left of it where what is broken is to be left out.
    fn whole(
        &self,
        batch: Result<LoadedBatch, DatasetError>,
        loader: &Loader,
        watch: &mut impl Watch,
    ) -> Result<Option<LoadedBatch>, TrainError> {
        let (batch, broken) = match batch {
            Ok(batch) => {
                let broken = batch.broken.clone();
                (Some(batch), broken)
            }
            Err(DatasetError::Broken { records }) if loader.leaves_out_broken() => (None, records),
            Err(error) => return Err(error.into()),
        };
        if self.notes.epoch == 0 {
            broken.iter().for_each(|record| watch.left_out(record));
        }
        Ok(batch)
    }

    fn gather(
        &self,
        gathered: &mut Gathered,
        batch: &LoadedBatch,
        objective: &mut impl Objective<M>,
    ) -> Result<(), TrainError> {
        let step = self.optimizer.steps();
        let at = At {
            step,
            epoch: self.notes.epoch,
            seed: mixed(self.recipe.seed, step as u64, gathered.batches() as u64),
        };
        let checkpointing = self.recipe.gradient_checkpointing;
        gathered.add(&self.trained, batch, at, objective, checkpointing)
    }

    fn step(&mut self, means: Means, elapsed: Duration) -> Result<Record, TrainError> {
        let Means {
            mut gradients,
            loss,
            parts,
        } = means;
        let grad_norm = gradients.norm();
        if let Some(most) = self.recipe.clip {
            gradients = gradients.clipped(most);
        }
        let step = self.optimizer.steps();
        let lr = self.recipe.schedule.at(step);
        self.optimizer.step(&mut self.trained, gradients, lr)?;
        if let Some(average) = &mut self.average {
            average.update(&self.trained);
        }
        Ok(Record {
            step,
            epoch: self.notes.epoch,
            lr,
            loss,
            parts,
            grad_norm,
            seconds: elapsed.as_secs_f64(),
        })
    }

    /// Evaluates and saves where that is due.
    fn after_step(
        &mut self,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<Next, TrainError> {
        let step = self.optimizer.steps();
        let at_end = step >= self.recipe.steps;
        if at_end || is_due(step, self.recipe.evaluate_every) {
            self.evaluate(objective, watch)?;
        }
        if at_end || is_due(step, self.recipe.save_every) {
            self.save()?;
        }
        let patience = self.recipe.patience;
        Ok(match patience {
            Some(patience) if self.notes.waiting >= patience => Next::StopEarly,
            _ if at_end => Next::Done,
            _ => Next::Step,
        })
    }

    /// The values that are evaluated: averaged, if they are averaged.
    fn values(&self) -> BTreeMap<String, TensorData> {
        match &self.average {
            Some(average) => average.values(&self.trained),
            None => self.trained.values(),
        }
    }

    fn evaluate(
        &mut self,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<(), TrainError> {
        let values = self.values();
        let model = self.trained.with_values(&values)?.into_model();
        let Some(value) = objective.score(&model)? else {
            return Ok(());
        };
        let step = self.optimizer.steps();
        let score = Score { step, value };
        let better = self.notes.best.is_none_or(|best| value > best.value);
        if better {
            self.notes.best = Some(score);
            self.best = Some(values);
            self.notes.waiting = 0;
        } else {
            self.notes.waiting += 1;
        }
        self.metrics.scores.push(score);
        watch.scored(&score);
        Ok(())
    }

    pub(super) fn finish(self, stopped_early: bool) -> Result<Outcome<M>, TrainError> {
        let values = match self.best {
            Some(best) => best,
            None => self.values(),
        };
        let trained = self.trained.with_values(&values)?;
        if let Some(folder) = &self.recipe.states {
            self.metrics.save(folder)?;
        }
        Ok(Outcome {
            trained,
            best: self.notes.best,
            metrics: self.metrics,
            stopped_early,
        })
    }

    /// An epoch went by and had not enough batches.
    fn no_step(&self) -> TrainError {
        let reason = format!(
            "makes no step: an epoch has {} batches; accumulate fewer, or make them smaller",
            self.notes.batch
        );
        TrainError::argument("accumulate", self.recipe.accumulate, reason)
    }
}

fn is_due(step: usize, every: usize) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// One number of three, such that near ones give far ones (splitmix64).
fn mixed(seed: u64, step: u64, batch: u64) -> u64 {
    let mut z = seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ batch.rotate_left(32);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        z = (z ^ (z >> 30)).wrapping_mul(factor);
    }
    z ^ (z >> 31)
}
