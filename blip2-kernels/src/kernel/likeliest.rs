//! The likeliest token of a row of logits, as a device tells it.

/// How many numbers a device gives for a row: the id or one of the four below, its logit, the largest
/// logit, and the sum of the exponentials of what all logits are below that.
pub(crate) const EACH: usize = 4;

/// The most tokens that a device leaves out.
#[cfg(feature = "gpu")]
pub(crate) const MOST_FORBIDDEN: usize = 4;

/// In place of an id: what may come is −∞.
pub(crate) const NO_TOKEN: f32 = -1.0;
/// All logits are −∞.
pub(crate) const NOTHING: f32 = -2.0;
/// A logit is +∞.
pub(crate) const TOO_MUCH: f32 = -3.0;
/// A logit is NaN.
pub(crate) const NOT_A_NUMBER: f32 = -4.0;

/// The likeliest token of a row of logits.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Likeliest {
    /// This one, the lowest of several.
    #[non_exhaustive]
    Token {
        /// Its id.
        id: u32,
        /// Its log-probability, of the softmax over all logits.
        logprob: f32,
    },
    /// None: all that may come are −∞.
    NoToken,
    /// The logits are no distribution, because of this value: NaN, +∞, or −∞ if there is nothing above.
    NoDistribution(f32),
}

impl Likeliest {
    /// Of the numbers of [`likeliest`](crate::likeliest), row by row.
    pub fn of(numbers: &[f32]) -> Vec<Self> {
        let rows = numbers.chunks_exact(EACH).map(|row| match *row {
            [found, logit, largest, sum] => Self::of_row(found, (logit - largest) - sum.ln()),
            _ => Self::NoToken,
        });
        rows.collect()
    }

    fn of_row(found: f32, logprob: f32) -> Self {
        match found {
            NO_TOKEN => Self::NoToken,
            NOTHING => Self::NoDistribution(f32::NEG_INFINITY),
            TOO_MUCH => Self::NoDistribution(f32::INFINITY),
            NOT_A_NUMBER => Self::NoDistribution(f32::NAN),
            id => Self::Token {
                id: id as u32,
                logprob,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_tokens_or_say_why_there_is_none() {
        let numbers = [
            [7.0, 1.0, 3.0, 2.0],
            [NO_TOKEN, 0.0, 0.0, 1.0],
            [NOTHING, 0.0, 0.0, 1.0],
            [TOO_MUCH, 0.0, f32::INFINITY, 1.0],
        ];
        let logprob = -2.0 - 2f32.ln();
        let expected = [
            Likeliest::Token { id: 7, logprob },
            Likeliest::NoToken,
            Likeliest::NoDistribution(f32::NEG_INFINITY),
            Likeliest::NoDistribution(f32::INFINITY),
        ];
        assert_eq!(Likeliest::of(&numbers.concat()), expected);
        let nan = Likeliest::of(&[NOT_A_NUMBER, 0.0, 0.0, 0.0]);
        assert!(matches!(nan[..], [Likeliest::NoDistribution(x)] if x.is_nan()));
    }
}
