//! How many steps some epochs are, whatever the size of batches was.

use blip2_io::dataset::Loader;
use serde::{Deserialize, Serialize};

use super::recipe::Recipe;

/// How the steps of some epochs are counted: in steps of the size that they have now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    /// How many examples make a step.
    per_step: usize,
    /// How many steps an epoch takes.
    per_epoch: usize,
    /// How many more steps of this size the examples that were seen would have taken than were made.
    ahead: i64,
}

impl Count {
    /// That of a training that begins.
    pub(super) fn of(loader: &Loader, recipe: &Recipe) -> Self {
        Self {
            per_step: loader.batch_size().saturating_mul(recipe.accumulate),
            per_epoch: loader.batches().div_ceil(recipe.accumulate),
            ahead: 0,
        }
    }

    /// That of a training that goes on after `made` steps, counted as `before`, which end behind the first
    /// `seen` examples of `epoch`.
    pub(super) fn going_on(
        self,
        before: Option<Self>,
        made: usize,
        (epoch, seen): (u64, usize),
        loader: &Loader,
    ) -> Self {
        let same = before.filter(|own| own.sizes() == self.sizes());
        let left = loader.epoch_len().saturating_sub(seen);
        // The epoch goes on with whole steps from the next example on, the last of which may be smaller.
        let left = left.div_ceil(self.per_step.max(1)).min(self.per_epoch);
        let epoch = usize::try_from(epoch).unwrap_or(usize::MAX);
        let seen = epoch.saturating_mul(self.per_epoch);
        let seen = seen.saturating_add(self.per_epoch - left);
        // Where the sizes are the same, what broke meanwhile may have made an epoch shorter: it stays so.
        same.unwrap_or(Self {
            ahead: signed(seen).saturating_sub(signed(made)),
            ..self
        })
    }

    fn sizes(self) -> (usize, usize) {
        (self.per_step, self.per_epoch)
    }

    /// How many steps there are in all, where `planned` are those of epochs with steps of this size.
    pub(super) fn steps(self, planned: usize) -> usize {
        usize::try_from(signed(planned).saturating_sub(self.ahead)).unwrap_or(0)
    }

    /// Where a step stands among those that are planned.
    pub(super) fn place(self, step: usize) -> usize {
        usize::try_from(signed(step).saturating_add(self.ahead)).unwrap_or(0)
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
