//! The batches of a step.

use std::collections::BTreeMap;

use blip2_io::dataset::LoadedBatch;
use blip2_kernels::recompute::Recompute;
use burn::module::Module;

use super::objective::{At, Losses, Objective};
use crate::{error::TrainError, gradients::Gradients, trained::Trained};

/// The losses and gradients of a step's batches that were seen, each times its batch's weight, but for
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

    /// Adds a batch: the forward pass and the backward pass.
    pub(super) fn add<M: Module>(
        &mut self,
        trained: &Trained<M>,
        batch: &LoadedBatch,
        at: At,
        objective: &mut impl Objective<M>,
        gradient_checkpointing: bool,
    ) -> Result<(), TrainError> {
        let (model, device) = (trained.model(), trained.device());
        let (losses, checkpoints) = if gradient_checkpointing {
            let forward = || objective.losses(model, batch, at);
            let (losses, checkpoints) = Recompute::during(device, at.seed, forward);
            (losses?, Some(checkpoints))
        } else {
            // Dropout draws from the device.
            device.seed(at.seed);
            (objective.losses(model, batch, at)?, None)
        };
        let Losses {
            total,
            parts,
            weight,
        } = losses;
        let weight = weight.unwrap_or(batch.examples.len() as f64);
        self.examples += batch.examples.len();
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
        self.batches += 1;
        self.gradients = Some(match self.gradients.take() {
            Some(mean) if self.weight > 0.0 => {
                let (old, new) = (before / self.weight, weight / self.weight);
                mean.scaled(old).plus(gradients.scaled(new))
            }
            Some(mean) => mean,
            None => gradients,
        });
    }

    pub(super) fn means(self) -> Means {
        let part = match self.weight > 0.0 {
            true => self.weight.recip(),
            false => 0.0,
        };
        let parts = self.parts.into_iter();
        Means {
            gradients: self.gradients.unwrap_or_default(),
            loss: self.loss * part,
            examples: self.examples,
            parts: parts
                .map(|(name, sum)| (name.to_string(), sum * part))
                .collect(),
        }
    }
}
