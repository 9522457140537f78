//! The loop itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use blip2_io::dataset::{DatasetError, LoadedBatch, Loader};
use burn::{module::Module, tensor::TensorData};

use super::{
    average::Average,
    count::Count,
    gather::{Gathered, Means},
    notes::Notes,
    objective::{At, Objective},
    outcome::Ended,
    recipe::Recipe,
    record::{Metrics, Record},
    shared::{Parts, Shared},
    watch::Watch,
};
use crate::{
    error::TrainError,
    group::{Group, agreed},
    optimizer::AdamW,
    trained::Trained,
};

/// A training that is going on.
pub(super) struct Run<'r, M> {
    pub(super) trained: Trained<M>,
    pub(super) optimizer: AdamW,
    pub(super) average: Option<Average>,
    pub(super) recipe: &'r Recipe,
    pub(super) group: &'r dyn Group,
    /// Where the last whole step ended: a state may be saved at any time.
    pub(super) notes: Notes,
    /// The values of the best model up to now.
    pub(super) best: Option<BTreeMap<String, TensorData>>,
    pub(super) metrics: Metrics,
    /// The last state, and how many steps it knows.
    pub(super) saved: Option<(usize, PathBuf)>,
    /// What was told to be left out.
    pub(super) told: BTreeSet<String>,
    /// Why what was seen could not be written last, until it is told.
    pub(super) unwritten: Option<String>,
    /// How many steps earlier processes made.
    pub(super) begun: usize,
    /// What earlier processes took.
    pub(super) spent: Duration,
}

impl<'r, M: Module> Run<'r, M> {
    pub(super) fn new(
        trained: Trained<M>,
        optimizer: AdamW,
        recipe: &'r Recipe,
        group: &'r dyn Group,
    ) -> Self {
        Self {
            average: recipe.ema.map(Average::new),
            trained,
            optimizer,
            recipe,
            group,
            notes: Notes::default(),
            best: None,
            metrics: Metrics::default(),
            saved: None,
            told: BTreeSet::new(),
            unwritten: None,
            begun: 0,
            spent: Duration::ZERO,
        }
    }

    /// Finds the place in the epoch, where it shows pictures now and showed examples before, or the other way.
    pub(super) fn place(&mut self, loader: &Loader, watch: &mut impl Watch) {
        if self.notes.recount(loader) {
            let (before, now) = match loader.examples_per_picture() {
                Some(_) => ("each example", "each picture"),
                None => ("each picture", "each example"),
            };
            watch.noted(&format!(
                "an epoch shows {now} once and showed {before}: it goes on at the same share of the epoch, so \
                 that some may be seen twice in it, and others not"
            ));
        }
    }

    /// Counts the steps that there are, where they are those of epochs.
    pub(super) fn count(&mut self, loader: &Loader, watch: &mut impl Watch) {
        if !self.recipe.by_epochs {
            self.notes.count = None;
            return;
        }
        let (new, made) = (Count::of(loader, self.recipe), self.optimizer.steps());
        self.notes.count = Some(match made {
            0 => new,
            _ => {
                let place = (self.notes.epoch, self.notes.place(loader));
                new.going_on(self.notes.count, made, place, loader)
            }
        });
        let (steps, planned) = (self.planned(), self.recipe.steps);
        if steps != planned {
            watch.planned(steps);
            watch.noted(&format!(
                "what is left of the epochs takes {} steps, {steps} in all: those before were of another size \
                 or another number of examples",
                steps.saturating_sub(made)
            ));
        }
    }

    /// How many steps there are in all.
    pub(super) fn planned(&self) -> usize {
        let planned = self.recipe.steps;
        self.notes
            .count
            .map_or(planned, |count| count.steps(planned))
    }

    /// The learning rate of a step.
    pub(super) fn rate(&self, step: usize) -> f64 {
        let place = self.notes.count.map_or(step, |count| count.place(step));
        self.recipe.schedule.at(place)
    }

    /// Makes steps until the end, or fails with [`TrainError::Cancelled`].
    pub(super) fn steps(
        &mut self,
        loader: &Loader,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<Ended, TrainError> {
        self.before_first_step(objective, watch)?;
        let started = Instant::now();
        self.begun = self.optimizer.steps();
        while self.optimizer.steps() < self.planned() {
            if self.has_waited_enough() {
                return Ok(Ended::Early);
            }
            let (first, before) = (self.notes.place(loader), self.optimizer.steps());
            let mut seen = first;
            let mut gathered = Gathered::default();
            let mut batches = loader.epoch_after(self.notes.epoch, first);
            while let Some(batch) = batches.next() {
                let parts = self.exchanged(batch, loader, watch)?;
                seen += loader.batch_size();
                let examples = parts.examples(loader.dataset())?;
                if let Some(shared) = parts.shared(&examples, self.group) {
                    self.gather(&mut gathered, &shared, objective)?;
                }
                // What is left at an epoch's end is a step too, as in `transformers`.
                let is_last = batches.len() == 0;
                let is_full = gathered.batches() >= self.recipe.accumulate;
                if gathered.batches() == 0 || !(is_full || is_last) {
                    continue;
                }
                let elapsed = self.spent + started.elapsed();
                let means = std::mem::take(&mut gathered).means(&self.trained, self.group)?;
                let record = self.step(means, elapsed)?;
                self.notes.set_place(seen, loader);
                watch.stepped(&record);
                self.metrics.records.push(record);
                if self.recipe.trial && self.optimizer.steps() > self.begun {
                    return Ok(Ended::Complete);
                }
                if let Some(ended) = self.after_step(objective, watch)? {
                    return Ok(ended);
                }
            }
            if first == 0 && self.optimizer.steps() == before {
                return Err(no_step(loader.batches()));
            }
            self.notes.epoch += 1;
            self.notes.set_place(0, loader);
        }
        Ok(Ended::Complete)
    }

    /// A batch's parts, after what was left out is told.
    fn exchanged(
        &mut self,
        batch: Result<LoadedBatch, DatasetError>,
        loader: &Loader,
        watch: &mut impl Watch,
    ) -> Result<Parts, TrainError> {
        let parts = Parts::exchanged(batch, loader, &self.recipe.cancel, self.group)?;
        // One that breaks later is told when it does, and none in every epoch.
        self.tell_left_out(&parts.broken, watch);
        Ok(parts)
    }

    fn gather(
        &self,
        gathered: &mut Gathered,
        shared: &Shared<'_>,
        objective: &mut impl Objective<M>,
    ) -> Result<(), TrainError> {
        let step = self.optimizer.steps();
        let at = At {
            step,
            epoch: self.notes.epoch,
            seed: mixed(self.recipe.seed, step as u64, gathered.batches() as u64),
        };
        let added = gathered.add(&self.trained, shared, at, objective, self.recipe);
        let added = added.map_err(|error| error.at(step, self.rate(step)));
        agreed(self.group, added).map(|_| ())
    }

    fn step(&mut self, means: Means, elapsed: Duration) -> Result<Record, TrainError> {
        let Means {
            mut gradients,
            loss,
            parts,
            examples,
        } = means;
        let grad_norm = gradients.norm();
        if let Some(most) = self.recipe.clip {
            gradients = gradients.clipped(most);
        }
        let step = self.optimizer.steps();
        let lr = self.rate(step);
        let moved = self.optimizer.step(&mut self.trained, gradients, lr);
        moved.map_err(|error| error.at(step, lr))?;
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
            examples,
            seconds: elapsed.as_secs_f64(),
        })
    }

    /// Saves and evaluates where that is due, in this order: whatever an evaluation meets, the steps
    /// before it are not lost.
    fn after_step(
        &mut self,
        objective: &mut impl Objective<M>,
        watch: &mut impl Watch,
    ) -> Result<Option<Ended>, TrainError> {
        let step = self.optimizer.steps();
        let is_scored = self.is_scored_after(step);
        let is_last = self.recipe.save_every > 0 && step >= self.planned();
        if is_scored || is_last || is_due(step, self.recipe.save_every) {
            self.save()?;
        }
        let measure = self.notes.measure.clone();
        let is_scored = is_scored && self.evaluate(objective, watch)?;
        let ended = match () {
            () if self.has_waited_enough() => Some(Ended::Early),
            () if step >= self.planned() => Some(Ended::Complete),
            () => None,
        };
        if is_scored && (ended.is_some() || self.notes.measure != measure) {
            // With the score that ended it, or that is of other examples than those before.
            self.save()?;
        }
        self.tell_unwritten(watch);
        Ok(ended)
    }
}

/// An epoch went by of which nothing could be used.
fn no_step(batches: usize) -> TrainError {
    let reason = format!("of an epoch's {batches} batches none can be trained on");
    TrainError::Batch { reason }
}

pub(super) fn is_due(step: usize, every: usize) -> bool {
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
