//! The loss on examples that are not trained on.

use blip2_core::CancelToken;
use blip2_io::dataset::{DatasetError, Loader};

use super::objective::{At, Objective};
use crate::error::TrainError;

/// The mean loss, batches weighing as they do in a step; `None` if there is nothing to have one of.
///
/// What an objective draws at random, such as one of several answers, is the same each time: losses of
/// one training are comparable.
pub(super) fn mean_loss<M>(
    model: &M,
    loader: &Loader,
    objective: &mut impl Objective<M>,
    cancel: &CancelToken,
) -> Result<Option<f64>, TrainError> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (number, batch) in loader.epoch(0).enumerate() {
        if cancel.is_cancelled() {
            return Err(TrainError::Cancelled);
        }
        let batch = match batch {
            Err(DatasetError::Broken { .. }) if loader.leaves_out_broken() => continue,
            batch => batch?,
        };
        let at = At {
            step: 0,
            epoch: 0,
            seed: number as u64,
        };
        let losses = objective.losses(model, &batch, at)?;
        let weight = losses.weight.unwrap_or(batch.examples.len() as f64);
        sum += weight * f64::from(losses.total.into_scalar::<f32>());
        weights += weight;
    }
    Ok((weights > 0.0).then(|| sum / weights))
}
