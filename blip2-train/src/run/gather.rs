//! The batches of a step.

use std::collections::BTreeMap;

use blip2_io::dataset::LoadedBatch;
use blip2_kernels::recompute::Recompute;
use burn::module::Module;

use super::objective::{At, Objective};
use crate::{error::TrainError, gradients::Gradients, trained::Trained};

/// The losses and gradients of a step's batches that were seen.
#[derive(Default)]
pub(super) struct Gathered {
    gradients: Option<Gradients>,
    loss: f64,
    parts: BTreeMap<&'static str, f64>,
    batches: usize,
}

/// What a step is made of: the means over its batches.
pub(super) struct Means {
    pub(super) gradients: Gradients,
    pub(super) loss: f64,
    pub(super) parts: BTreeMap<String, f64>,
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
        self.loss += f64::from(losses.total.clone().into_scalar::<f32>());
        for (name, part) in losses.parts {
            *self.parts.entry(name).or_default() += f64::from(part.into_scalar::<f32>());
        }
        let gradients = match checkpoints {
            Some(checkpoints) => trained.checkpointed_gradients(losses.total, checkpoints),
            None => trained.gradients(losses.total),
        };
        let gradients = gradients.map_err(|error| error.at(at.step))?;
        self.gradients = Some(match self.gradients.take() {
            Some(sum) => sum.plus(gradients),
            None => gradients,
        });
        self.batches += 1;
        Ok(())
    }

    pub(super) fn means(self) -> Means {
        let part = (self.batches.max(1) as f64).recip();
        let mut gradients = self.gradients.unwrap_or_default();
        if self.batches > 1 {
            gradients = gradients.scaled(part);
        }
        let parts = self.parts.into_iter();
        Means {
            gradients,
            loss: self.loss * part,
            parts: parts
                .map(|(name, sum)| (name.to_string(), sum * part))
                .collect(),
        }
    }
}
