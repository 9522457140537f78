//! A row of logits of which the largest alone may be known.

use blip2_kernels::Top;

use super::numerics::LogNormalizer;

/// The logits of a row that are known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'a> {
    All(&'a [f32]),
    /// The largest. A decision by them is one by all logits if nothing that is not known could have
    /// changed it: see [`bar`](Self::bar).
    Top(&'a Top),
}

impl Known<'_> {
    /// What makes log-probabilities of the logits; of the largest alone as of all.
    ///
    /// The error is the value that prevents it, as of [`LogNormalizer::of`].
    pub(super) fn normalizer(&self) -> Result<LogNormalizer, f32> {
        match self {
            Self::All(logits) => LogNormalizer::of(logits),
            Self::Top(top) => match top.tokens.first() {
                Some(&(_, max)) => Ok(LogNormalizer::new(max, top.log_sum)),
                None => Err(f32::NEG_INFINITY),
            },
        }
    }

    /// The logit of a token; −∞ if it is not known.
    pub(super) fn logit(&self, token: usize) -> f32 {
        match self {
            Self::All(logits) => logits[token],
            Self::Top(top) => {
                let mut tokens = top.tokens.iter();
                let found = tokens.find(|(id, _)| *id as usize == token);
                found.map_or(f32::NEG_INFINITY, |(_, logit)| *logit)
            }
        }
    }

    /// Appends a score of each of `vocab` logits; −∞ of those that are not known. So what shapes scores
    /// and chooses among them is written once.
    pub(super) fn spread(&self, vocab: usize, scores: &mut Vec<f32>, score: impl Fn(f32) -> f32) {
        match self {
            Self::All(logits) => scores.extend(logits.iter().map(|&logit| score(logit))),
            Self::Top(top) => {
                let first = scores.len();
                scores.resize(first + vocab, f32::NEG_INFINITY);
                for &(id, logit) in &top.tokens {
                    scores[first + id as usize] = score(logit);
                }
            }
        }
    }

    /// What no logit that is not known is above; `None` if all are known.
    pub(super) fn bar(&self) -> Option<f32> {
        match self {
            Self::Top(top) if !top.is_all => top.tokens.last().map(|(_, logit)| *logit),
            Self::All(_) | Self::Top(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn the_largest_stand_where_all_would() {
        let logits = [0.5, 2.0, -1.0, 2.0, 0.25];
        let all = Known::All(&logits);
        let sum: f32 = logits.iter().map(|x| (x - 2.0).exp()).sum();
        let top = Top::new(vec![(1, 2.0), (3, 2.0), (0, 0.5)], false, sum.ln());
        let largest = Known::Top(&top);
        let (mut from_all, mut from_largest) = (vec![7.0], vec![7.0]);
        all.spread(5, &mut from_all, |x| 2.0 * x);
        largest.spread(5, &mut from_largest, |x| 2.0 * x);
        assert_eq!(from_all, [7.0, 1.0, 4.0, -2.0, 4.0, 0.5]);
        assert_eq!(from_largest, [7.0, 1.0, 4.0, OUT, 4.0, OUT]);
        assert_eq!((all.logit(3), largest.logit(3)), (2.0, 2.0));
        assert_eq!((all.bar(), largest.bar()), (None, Some(0.5)));
        let norms = [all, largest].map(|known| known.normalizer().unwrap().log_prob(0.5));
        assert!((norms[0] - norms[1]).abs() < 1e-6, "{norms:?}");
    }
}
