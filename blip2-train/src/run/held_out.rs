//! The loss on examples that are not trained on.

use blip2_core::CancelToken;
use blip2_io::dataset::{BrokenRecord, Loader};

use super::{
    objective::{At, Objective},
    shared::{Parts, Sums},
};
use crate::{error::TrainError, group::Group};

/// The mean loss, batches weighing as they do in a step; `None` if there is nothing to have one of. What
/// was left out joins `broken`.
///
/// What an objective draws at random, such as one of several answers, is the same each time: losses of
/// one training are comparable.
pub(super) fn mean_loss<M>(
    model: &M,
    loader: &Loader,
    objective: &mut impl Objective<M>,
    cancel: &CancelToken,
    group: &dyn Group,
    broken: &mut Vec<BrokenRecord>,
) -> Result<Option<f64>, TrainError> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (number, batch) in loader.epoch(0).enumerate() {
        let parts = Parts::exchanged(batch, loader, cancel, group)?;
        broken.extend(parts.broken.iter().cloned());
        let examples = parts.examples(loader.dataset())?;
        let Some(shared) = parts.shared(&examples, group) else {
            continue;
        };
        let at = At {
            step: 0,
            epoch: 0,
            seed: number as u64,
        };
        let own = objective.losses_together(model, &shared, at).map(|losses| {
            losses.map_or_else(Sums::default, |losses| {
                let count = shared.batch().examples.len() as f64;
                let weight = losses.weight.unwrap_or(count);
                let loss = f64::from(losses.total.into_scalar::<f32>());
                Sums::new(weight * loss, weight, Default::default())
            })
        });
        let all = Sums::over(group, own)?;
        sum += all.loss();
        weights += all.weight();
    }
    Ok((weights > 0.0).then(|| sum / weights))
}
