//! Where a training is.

use blip2_io::dataset::Loader;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{count::Count, record::Score};

/// What a state says besides numbers of tensors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    pub(super) epoch: u64,
    /// How many batches of the epoch were seen.
    pub(super) batch: usize,
    /// How many examples of it were, or pictures where an epoch shows each once; nothing where an older
    /// version wrote it.
    pub(super) seen: Option<usize>,
    /// What an epoch is counted in; nothing where an older version wrote it.
    pub(super) shown: Option<Shown>,
    /// How steps are counted; nothing where their number is given.
    pub(super) count: Option<Count>,
    pub(super) best: Option<Score>,
    /// The bits of the best score: numbers that JSON's digits give may be next to those that were
    /// written, and an equal score would be a better one.
    pub(super) best_bits: Option<u64>,
    /// How many evaluations in a row were not better.
    pub(super) waiting: usize,
    /// After how many steps it was evaluated last.
    pub(super) scored: Option<usize>,
    /// What its scores are of: others are not comparable.
    pub(super) measure: Option<String>,
    /// The same without what hangs on which examples can be used; nothing where all must be.
    pub(super) whole: Option<String>,
    /// What the training is, in the words of whoever began it.
    pub(super) about: Option<Value>,
    /// Whether the best score is of other examples or another kind than scores are now, and must be found again.
    pub(super) stale_best: bool,
    /// Whether the score before the first step is of another kind than scores are now.
    pub(super) stale_before: bool,
}

/// What an epoch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    /// Whether each picture once, and not each example.
    by_picture: bool,
    /// How many of them.
    of: usize,
}

impl Shown {
    fn by(loader: &Loader) -> Self {
        Self {
            by_picture: loader.examples_per_picture().is_some(),
            of: loader.epoch_len(),
        }
    }
}

impl Notes {
    /// Counts the place in the epoch in what `loader` shows. Whether that is another place: of pictures and of
    /// examples none but the beginning is the same, and the epoch goes on at the same share of it.
    pub(super) fn recount(&mut self, loader: &Loader) -> bool {
        let now = Shown::by(loader);
        let before = self.shown.replace(now);
        let Some(before) = before.filter(|own| own.by_picture != now.by_picture) else {
            return false;
        };
        let seen = self.place(loader) as u128 * now.of as u128 / before.of.max(1) as u128;
        self.set_place(usize::try_from(seen).unwrap_or(now.of), loader);
        seen > 0
    }

    /// How many examples of the epoch were seen, whatever the size of batches was.
    pub(super) fn place(&self, loader: &Loader) -> usize {
        self.seen.unwrap_or(self.batch * loader.batch_size())
    }

    pub(super) fn set_place(&mut self, seen: usize, loader: &Loader) {
        self.batch = seen / loader.batch_size();
        self.seen = Some(seen);
    }

    /// As they are written.
    pub(super) fn written(&self) -> Self {
        let best = self.best.as_ref();
        Self {
            best_bits: best.map(|best| best.value.to_bits()),
            ..self.clone()
        }
    }

    /// As they were, of what was read.
    pub(super) fn exact(mut self) -> Self {
        if let (Some(best), Some(bits)) = (&mut self.best, self.best_bits) {
            best.value = f64::from_bits(bits);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_score_is_read_to_the_bit() {
        // Of numbers with many digits the plain reader of JSON misses some by the last bit.
        let mut random = 7u64;
        for _ in 0..500 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let value = (random >> 11) as f64 / (1u64 << 53) as f64;
            let best = Score {
                step: 1,
                value,
                loss: None,
                others: Default::default(),
            };
            let notes = Notes {
                best: Some(best),
                ..Notes::default()
            };
            let text = serde_json::to_string(&notes.written()).unwrap();
            let read = serde_json::from_str::<Notes>(&text).unwrap().exact();
            assert_eq!(read.best.unwrap().value.to_bits(), value.to_bits());
        }
    }
}
