//! Steps of a decode that a GPU is told once: as many rows of the same prompts, a token each.
//!
//! Of such a step nothing changes but numbers: what the first layer reads, how many places the caches hold, and where
//! they are, as beams take each other's places. The device counts and looks up the last two itself. The first step is done as it is described, the second is recorded
//! while it is described, and from then on it is replayed.

use blip2_kernels::{
    KvCache,
    replay::{PlaceCounter, Rehearsal, Replay},
};
use burn::tensor::Tensor;

use crate::error::LmError;

/// Steps that are worth it: one is done as it is described, and one is described to be recorded.
const FEWEST: usize = 3;

/// What a step writes keys and values to.
pub(crate) trait Caches {
    /// Every cache that a step adds a place to.
    fn growing(&mut self) -> impl Iterator<Item = &mut KvCache>;
}

impl Caches for [KvCache] {
    fn growing(&mut self) -> impl Iterator<Item = &mut KvCache> {
        self.iter_mut()
    }
}

/// Whether each of as many rows goes on from one of its own prompt, of which `prompts` has the number for each row.
pub(crate) fn stay_with_prompts(prompts: &[usize], parents: &[usize]) -> bool {
    let mut pairs = parents.iter().zip(prompts);
    parents.len() == prompts.len()
        && pairs.all(|(&parent, prompt)| prompts.get(parent) == Some(prompt))
}

/// Steps of as many rows of the same prompts.
#[derive(Debug)]
pub(crate) struct Steps {
    counter: PlaceCounter,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Begun,
    Rehearsed(Rehearsal<3>),
    Recorded(Replay<3, 3>),
    /// The device refuses.
    Over,
}

/// The places for which the caches have room, if they are in a GPU's memory, alike, and have room for
/// `more`.
pub(crate) fn capacity<C: Caches + ?Sized>(caches: &mut C, more: usize) -> Option<usize> {
    let mut sizes = caches
        .growing()
        .map(|cache| (cache.len(), cache.capacity()));
    let (places, capacity) = sizes.next()?;
    let alike = sizes.all(|size| size == (places, capacity));
    capacity.filter(|capacity| alike && places + more <= *capacity)
}

impl Steps {
    /// Begins, if the caches are in a GPU's memory, alike, and have room for enough steps.
    pub(crate) fn begin<C: Caches + ?Sized>(caches: &mut C) -> Option<Self> {
        capacity(caches, FEWEST)?;
        let counter = caches.growing().next()?.counter()?;
        let steps = Self {
            counter,
            stage: Stage::Begun,
        };
        let counts = |cache: &mut KvCache| cache.count_by(Some(&steps.counter));
        if caches.growing().all(counts) {
            return Some(steps);
        }
        steps.end(caches);
        None
    }

    /// Has the rows go on from `parents`, each from one of its own prompt; `false`, and the caches as they were,
    /// where these steps cannot, and are to be [ended](Self::end).
    pub(crate) fn move_rows<C: Caches + ?Sized>(&self, caches: &mut C, parents: &[usize]) -> bool {
        let first = caches.growing().next();
        first.is_some_and(|cache| self.counter.move_rows(parents, cache.len()))
    }

    /// One step, for which there is room: `work` from what its first layer reads to its logits. `None`, and
    /// the caches as they were, where the device refuses: then the step is described as it always is, and
    /// these steps are to be [ended](Self::end).
    ///
    /// # Errors
    ///
    /// [`LmError::Device`] where the caches are lost with that.
    pub(crate) fn run<C: Caches + ?Sized>(
        &mut self,
        caches: &mut C,
        read: &[Tensor<3>],
        work: impl Fn(&mut C, Vec<Tensor<3>>) -> Option<Tensor<3>>,
    ) -> Result<Option<Tensor<3>>, LmError> {
        let counter = &self.counter;
        let step = |caches: &mut C, read| {
            counter.add_one();
            work(caches, read)
        };
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Begun => {
                let Some(rehearsal) = Rehearsal::new(read) else {
                    return Ok(None);
                };
                let logits = step(caches, rehearsal.inputs());
                // A kernel that was told where the newest place is would write it there again.
                if counter.is_read() {
                    self.stage = Stage::Rehearsed(rehearsal);
                }
                Ok(logits)
            }
            Stage::Rehearsed(rehearsal) => {
                let recorded = rehearsal.record(|read| step(caches, read));
                let Some(replay) = recorded.filter(|_| counter.is_read()) else {
                    let lost = "a step could not be recorded, and the caches are lost with it";
                    return Err(LmError::Device(lost.into()));
                };
                // Describing it counted its place.
                caches.growing().for_each(|cache| cache.drop_last(1));
                Ok(self.replayed(replay, read, caches))
            }
            Stage::Recorded(replay) => Ok(self.replayed(replay, read, caches)),
            Stage::Over => Ok(None),
        }
    }

    fn replayed<C: Caches + ?Sized>(
        &mut self,
        mut replay: Replay<3, 3>,
        read: &[Tensor<3>],
        caches: &mut C,
    ) -> Option<Tensor<3>> {
        let logits = replay.run(read)?;
        caches.growing().for_each(KvCache::note_written);
        self.stage = Stage::Recorded(replay);
        Some(logits)
    }

    /// Gives the caches back to whoever tells kernels what they hold.
    pub(crate) fn end<C: Caches + ?Sized>(self, caches: &mut C) {
        for cache in caches.growing() {
            cache.count_by(None);
        }
    }
}
