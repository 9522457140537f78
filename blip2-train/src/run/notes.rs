//! Where a training is.

use serde::{Deserialize, Serialize};

use super::record::Score;

/// What a state says besides numbers of tensors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    pub(super) epoch: u64,
    /// How many batches of the epoch were seen.
    pub(super) batch: usize,
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
}

impl Notes {
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
