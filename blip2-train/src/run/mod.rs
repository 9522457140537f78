//! The loop: steps, evaluations, states to go on from.

mod average;
mod curve;
mod recipe;
mod record;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use blip2_io::dataset::{BrokenRecord, DatasetError, LoadedBatch, Loader};
use blip2_kernels::recompute::Recompute;
use burn::{
    module::Module,
    tensor::{Tensor, TensorData},
};
use serde::{Deserialize, Serialize};

pub use average::Average;
pub use recipe::Recipe;
pub use record::{Metrics, Record, Score};

use crate::{AdamW, Gradients, Progress, TrainError, Trained};

/// What is trained for: a loss, and perhaps a score.
///
/// A closure over a model and a batch is one too, without a score.
pub trait Objective<M> {
    /// The losses of a batch. What they draw at random must follow from `at` alone, so that a
    /// training which goes on is the one that was not interrupted.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the model or the batch.
    fn losses(&mut self, model: &M, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError>;

    /// How good the model is, more being better; `None` if nobody knows.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the model or its data.
    fn score(&mut self, model: &M) -> Result<Option<f64>, TrainError> {
        let _ = model;
        Ok(None)
    }
}

impl<M, F> Objective<M> for F
where
    F: FnMut(&M, &LoadedBatch, At) -> Result<Losses, TrainError>,
{
    fn losses(&mut self, model: &M, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError> {
        self(model, batch, at)
    }
}

/// Where in a training one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct At {
    /// How many steps were made.
    pub step: usize,
    /// How often all data were seen.
    pub epoch: u64,
    /// A number to draw from that no other batch of the training has.
    pub seed: u64,
}

/// The loss of a batch, and what it is made of.
#[derive(Debug, Clone)]
pub struct Losses {
    /// What is made smaller, `[1]`.
    pub total: Tensor<1>,
    /// Its parts, for people to see.
    pub parts: Vec<(&'static str, Tensor<1>)>,
}

impl From<Tensor<1>> for Losses {
    fn from(total: Tensor<1>) -> Self {
        let parts = Vec::new();
        Self { total, parts }
    }
}

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

    /// The model was evaluated.
    fn scored(&mut self, score: &Score) {
        let _ = score;
    }

    /// A training goes on from a state after so many steps.
    fn resumed(&mut self, step: usize) {
        let _ = step;
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

    fn scored(&mut self, score: &Score) {
        (**self).scored(score);
    }

    fn resumed(&mut self, step: usize) {
        (**self).resumed(step);
    }
}

/// How a training ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome<M> {
    /// The model: the best that was evaluated, else the last.
    pub trained: Trained<M>,
    /// What was seen of each step and evaluation.
    pub metrics: Metrics,
    /// The best score, if the objective gives any.
    pub best: Option<Score>,
    /// Whether it ended because the score no longer rose.
    pub stopped_early: bool,
}

/// What a state says besides numbers of tensors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Notes {
    epoch: u64,
    /// How many batches of the epoch were seen.
    batch: usize,
    best: Option<Score>,
    /// How many evaluations in a row were not better.
    waiting: usize,
}

/// Trains until the recipe is through, or the score no longer rises.
///
/// With a folder for states the training goes on from the last one in it, on the very curve that it
/// would have had: batches, augmentation, dropout and negatives follow from the recipe's seed and the
/// step.
///
/// # Errors
///
/// Those of the objective and the data; [`TrainError::NotFinite`] for a loss or gradients that are no
/// numbers; [`TrainError::State`] for a folder with the states of another training.
pub fn train<M: Module>(
    trained: Trained<M>,
    optimizer: AdamW,
    loader: &Loader,
    recipe: &Recipe,
    objective: &mut impl Objective<M>,
    watch: &mut impl Watch,
) -> Result<Outcome<M>, TrainError> {
    recipe.validate()?;
    let mut run = Run {
        average: recipe.ema.map(Average::new),
        trained,
        optimizer,
        recipe,
        notes: Notes::default(),
        best: None,
        metrics: Metrics::default(),
        spent: Duration::ZERO,
    };
    run.resume(watch)?;
    let stopped_early = run.steps(loader, objective, watch)?;
    run.finish(stopped_early)
}

struct Run<'r, M> {
    trained: Trained<M>,
    optimizer: AdamW,
    average: Option<Average>,
    recipe: &'r Recipe,
    notes: Notes,
    /// The values of the best model so far.
    best: Option<BTreeMap<String, TensorData>>,
    metrics: Metrics,
    /// What earlier processes took.
    spent: Duration,
}

/// Gradients of the batches of a step, as far as they were seen.
#[derive(Default)]
struct Gathered {
    gradients: Option<Gradients>,
    loss: f64,
    parts: BTreeMap<&'static str, f64>,
    batches: usize,
}

impl<M: Module> Run<'_, M> {
    fn resume(&mut self, watch: &mut impl Watch) -> Result<(), TrainError> {
        let Some(folder) = &self.recipe.states else {
            return Ok(());
        };
        let Some(state) = self.trained.resume(&mut self.optimizer, folder)? else {
            return Ok(());
        };
        self.notes = state.notes(folder)?;
        if let Some(average) = &mut self.average {
            average.restore(state.tensors("average"), state.step);
        }
        self.best = self.notes.best.map(|_| state.tensors("best"));
        self.metrics = Metrics::load(folder, state.step)?;
        self.spent = self.metrics.spent();
        watch.resumed(state.step);
        Ok(())
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

    /// Makes steps until the end; true if it came early.
    fn steps(
        &mut self,
        loader: &Loader,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<bool, TrainError> {
        let started = Instant::now();
        let last = self.recipe.steps;
        while self.optimizer.steps() < last {
            let mut gathered = Gathered::default();
            let (epoch, first) = (self.notes.epoch, self.notes.batch);
            let before = self.optimizer.steps();
            for batch in loader.epoch_from(epoch, first) {
                self.notes.batch += 1;
                let Some(batch) = self.whole(batch, loader, watch)? else {
                    continue;
                };
                self.gather(&mut gathered, &batch, objective)?;
                if gathered.batches < self.recipe.accumulate {
                    continue;
                }
                let elapsed = self.spent + started.elapsed();
                let record = self.step(std::mem::take(&mut gathered), elapsed)?;
                watch.stepped(&record);
                self.metrics.records.push(record);
                let step = self.optimizer.steps();
                let at_end = step >= last;
                if at_end || is_due(step, self.recipe.evaluate_every) {
                    self.evaluate(objective, watch)?;
                }
                if at_end || is_due(step, self.recipe.save_every) {
                    self.save()?;
                }
                let patience = self.recipe.patience;
                if patience.is_some_and(|patience| self.notes.waiting >= patience) {
                    return Ok(true);
                }
                if at_end {
                    return Ok(false);
                }
            }
            if first == 0 && self.optimizer.steps() == before {
                let reason = format!(
                    "an epoch has {} batches, and a step takes {}",
                    self.notes.batch, self.recipe.accumulate
                );
                return Err(TrainError::Batch { reason });
            }
            // What is left of an epoch is too little for a step.
            self.notes.epoch += 1;
            self.notes.batch = 0;
        }
        Ok(false)
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
            seed: mixed(self.recipe.seed, step as u64, gathered.batches as u64),
        };
        let (model, device) = (self.trained.model(), self.trained.device());
        let (losses, forgotten) = if self.recipe.recompute {
            let run = || objective.losses(model, batch, at);
            let (losses, forgotten) = Recompute::during(device, at.seed, run);
            (losses?, Some(forgotten))
        } else {
            // Dropout draws from the device.
            device.seed(at.seed);
            (objective.losses(model, batch, at)?, None)
        };
        gathered.loss += f64::from(losses.total.clone().into_scalar::<f32>());
        for (name, part) in losses.parts {
            *gathered.parts.entry(name).or_default() += f64::from(part.into_scalar::<f32>());
        }
        let gradients = match forgotten {
            Some(forgotten) => self.trained.recomputed_gradients(losses.total, forgotten),
            None => self.trained.gradients(losses.total),
        };
        let gradients = gradients.map_err(|error| error.at(step))?;
        gathered.gradients = Some(match gathered.gradients.take() {
            Some(sum) => sum.plus(gradients),
            None => gradients,
        });
        gathered.batches += 1;
        Ok(())
    }

    fn step(&mut self, gathered: Gathered, elapsed: Duration) -> Result<Record, TrainError> {
        let part = (gathered.batches.max(1) as f64).recip();
        let mut gradients = gathered.gradients.unwrap_or_default();
        if gathered.batches > 1 {
            gradients = gradients.scaled(part);
        }
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
        let parts = gathered.parts.into_iter();
        Ok(Record {
            step,
            epoch: self.notes.epoch,
            lr,
            loss: gathered.loss * part,
            parts: parts
                .map(|(name, sum)| (name.to_string(), sum * part))
                .collect(),
            grad_norm,
            seconds: elapsed.as_secs_f64(),
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

    fn save(&self) -> Result<(), TrainError> {
        let Some(folder) = &self.recipe.states else {
            return Ok(());
        };
        // Metrics before the state: rows of steps that a state does not know are dropped.
        self.metrics.save(folder)?;
        let mut progress = Progress::new(self.optimizer.steps(), &self.notes)?;
        if let Some(average) = &self.average {
            progress.keep("average", average.values(&self.trained));
        }
        if let Some(best) = &self.best {
            progress.keep("best", best.clone());
        }
        let _: PathBuf = self
            .trained
            .save_state(&self.optimizer, &progress, folder)?;
        Ok(())
    }

    fn finish(self, stopped_early: bool) -> Result<Outcome<M>, TrainError> {
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
