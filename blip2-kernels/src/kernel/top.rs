//! The largest logits of a row, as a device tells them.

use super::likeliest::{NOT_A_NUMBER, NOTHING, TOO_MUCH};

/// The most logits of a row that a device looks for.
pub const MOST_TOP: usize = 128;

/// How many numbers a device gives for a row beside its largest logits: how many those are, or why there
/// are none; the largest; and the sum of the exponentials of what all logits are below that.
pub(crate) const HEAD: usize = 3;

/// In place of a count: more logits stand out than the device has room for.
pub(crate) const CROWDED: f32 = -5.0;

/// The largest logits of a row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TopLogits {
    /// These.
    Found(Top),
    /// The logits are no distribution, because of this value: NaN, +∞, or −∞ if there is nothing above.
    NoDistribution(f32),
    /// A device could not tell them from others that are as large or nearly so: all logits must be read.
    Crowded,
}

/// Logits of a row above all others of it, and what makes probabilities of them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Top {
    /// Ids and logits, the largest first, of equals the one with the lower id.
    pub tokens: Vec<(u32, f32)>,
    /// Whether the logits of all other tokens are −∞.
    pub is_all: bool,
    /// The logarithm of the sum of exponentials of what the row's logits, all of them, are below the largest.
    pub log_sum: f32,
}

impl Top {
    /// What was found elsewhere than on a device: see the fields.
    pub fn new(tokens: Vec<(u32, f32)>, is_all: bool, log_sum: f32) -> Self {
        Self {
            tokens,
            is_all,
            log_sum,
        }
    }
}

impl TopLogits {
    /// Of the numbers of [`top_logits`](crate::top_logits) for the same `k`, row by row.
    pub fn of(numbers: &[f32], k: usize) -> Vec<Self> {
        let rows = numbers.chunks_exact(HEAD + 2 * k);
        rows.map(|row| Self::of_row(row, k)).collect()
    }

    fn of_row(row: &[f32], k: usize) -> Self {
        let (head, top) = row.split_at(HEAD);
        let [found, _, sum] = *head else {
            return Self::Crowded;
        };
        match found {
            NOTHING => Self::NoDistribution(f32::NEG_INFINITY),
            TOO_MUCH => Self::NoDistribution(f32::INFINITY),
            NOT_A_NUMBER => Self::NoDistribution(f32::NAN),
            CROWDED => Self::Crowded,
            count => {
                let pairs = top.chunks_exact(2).take(count as usize);
                let tokens: Vec<_> = pairs.map(|pair| (pair[0] as u32, pair[1])).collect();
                let is_all = tokens.len() < k;
                Self::Found(Top::new(tokens, is_all, sum.ln()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_logits_or_say_why_there_are_none() {
        let numbers = [
            [2.0, 3.0, 2.0, 7.0, 3.0, 4.0, 1.5],
            [1.0, 3.0, 1.0, 9.0, 3.0, 0.0, 0.0],
            [NOTHING, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [TOO_MUCH, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [CROWDED, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ];
        let expected = [
            TopLogits::Found(Top::new(vec![(7, 3.0), (4, 1.5)], false, 2f32.ln())),
            TopLogits::Found(Top::new(vec![(9, 3.0)], true, 0.0)),
            TopLogits::NoDistribution(f32::NEG_INFINITY),
            TopLogits::NoDistribution(f32::INFINITY),
            TopLogits::Crowded,
        ];
        assert_eq!(TopLogits::of(&numbers.concat(), 2), expected);
        let nan = TopLogits::of(&[NOT_A_NUMBER, 0.0, 0.0, 0.0, 0.0], 1);
        assert!(matches!(nan[..], [TopLogits::NoDistribution(x)] if x.is_nan()));
    }
}
