//! The batches of a step.

use std::collections::BTreeMap;

use blip2_kernels::{recompute::Recompute, share};
use burn::module::Module;

use super::{
    objective::{At, Losses, Objective},
    recipe::Recipe,
    shared::{Shared, Sums},
};
use crate::{
    error::TrainError,
    gradients::Gradients,
    group::{Group, summed},
    trained::Trained,
};

/// The losses and gradients of this process's parts of a step's batches that were seen, each times its batch's weight, but for
/// those of the first: most steps have no other.
#[derive(Default)]
pub(super) struct Gathered {
    gradients: Option<Gradients>,
    loss: f64,
    parts: BTreeMap<&'static str, f64>,
    weight: f64,
    batches: usize,
    examples: usize,
}

/// What a step is made of: the means over its batches.
pub(super) struct Means {
    pub(super) gradients: Gradients,
    pub(super) loss: f64,
    pub(super) parts: BTreeMap<String, f64>,
    pub(super) examples: usize,
}

impl Gathered {
    pub(super) fn batches(&self) -> usize {
        self.batches
    }

    /// Adds the own part of a batch: the forward pass and the backward pass.
    pub(super) fn add<M: Module>(
        &mut self,
        trained: &Trained<M>,
        shared: &Shared<'_>,
        at: At,
        objective: &mut impl Objective<M>,
        recipe: &Recipe,
    ) -> Result<(), TrainError> {
        let (model, device) = (trained.model(), trained.device());
        let forward = || objective.losses_together(model, shared, at);
        let forward = || share::during(shared.rows(), shared.picture_rows(), forward);
        let forward = || recipe.activations.during(forward);
        self.batches += 1;
        let (losses, checkpoints) = if recipe.gradient_checkpointing {
            let (losses, checkpoints) = Recompute::during(device, at.seed, forward);
            (losses?, Some(checkpoints))
        } else {
            // Dropout draws from the device.
            device.seed(at.seed);
            (forward()?, None)
        };
        let Some(Losses {
            total,
            parts,
            weight,
        }) = losses
        else {
            return Ok(());
        };
        let examples = shared.batch().examples.len();
        let weight = weight.unwrap_or(examples as f64);
        self.examples += examples;
        self.loss += weight * f64::from(total.clone().into_scalar::<f32>());
        for (name, part) in parts {
            *self.parts.entry(name).or_default() += weight * f64::from(part.into_scalar::<f32>());
        }
        let gradients = match checkpoints {
            Some(checkpoints) => trained.checkpointed_gradients(total, checkpoints),
            None => trained.gradients(total),
        };
        self.accumulate(gradients?, weight);
        Ok(())
    }

    /// Adds a batch's gradients to the mean of those before it.
    ///
    /// A running mean by weights: what one batch of all the examples would give, whatever the
    /// batches' sizes, and for a single batch its gradients to the bit.
    fn accumulate(&mut self, gradients: Gradients, weight: f64) {
        let before = self.weight;
        self.weight += weight;
        self.gradients = Some(match self.gradients.take() {
            Some(mean) if self.weight > 0.0 => {
                let (old, new) = (before / self.weight, weight / self.weight);
                mean.scaled(old).plus(gradients.scaled(new))
            }
            Some(mean) => mean,
            None => gradients,
        });
    }

    /// The means over all processes.
    pub(super) fn means<M: Module>(
        self,
        trained: &Trained<M>,
        group: &dyn Group,
    ) -> Result<Means, TrainError> {
        let parts = self.parts.into_iter();
        let parts = parts.map(|(name, sum)| (name.to_string(), sum));
        let mut gradients = self.gradients.unwrap_or_default();
        let names = gradients.names().map(str::to_string).collect();
        let own = Sums::new(self.loss, self.weight, parts.collect());
        let own = own.of(self.examples, names);
        let all = Sums::over(group, Ok(own))?;
        let part = match all.weight() > 0.0 {
            true => all.weight().recip(),
            false => 0.0,
        };
        if group.size() > 1 {
            let counts = trained.counts(&all.names);
            let device = trained.device();
            gradients = summed(group, gradients, self.weight * part, &counts, device)?;
        }
        Ok(Means {
            gradients,
            loss: all.loss() * part,
            examples: all.examples,
            parts: all
                .parts()
                .map(|(name, sum)| (name.clone(), sum * part))
                .collect(),
        })
    }
}
