//! Softmax denominators, largest elements and their order.

use std::cmp::Ordering;

/// The denominator of a softmax, as a logarithm in two parts so that
/// `log_softmax(x) = (x − max) − log_sum`, the order in which PyTorch subtracts.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogNormalizer {
    max: f32,
    log_sum: f32,
}

impl LogNormalizer {
    /// The denominator over scores of which `max` is the largest, and `log_sum` the logarithm of the sum of
    /// their exponentials, each less `max`.
    pub(super) fn new(max: f32, log_sum: f32) -> Self {
        Self { max, log_sum }
    }

    /// The denominator over `scores`; exponentials in f32, their sum in f64.
    ///
    /// The error is the value that prevents it: NaN, +∞, or −∞ if there is nothing above that.
    pub(super) fn of(scores: &[f32]) -> Result<Self, f32> {
        let mut max = f32::NEG_INFINITY;
        let mut has_nan = false;
        for &score in scores {
            has_nan |= score.is_nan();
            max = max.max(score);
        }
        if has_nan {
            return Err(f32::NAN);
        }
        if max.is_infinite() {
            return Err(max);
        }
        let sum: f64 = scores.iter().map(|&x| f64::from((x - max).exp())).sum();
        Ok(Self {
            max,
            log_sum: sum.ln() as f32,
        })
    }

    /// The log-probability of an element with this score.
    pub(super) fn log_prob(self, score: f32) -> f32 {
        (score - self.max) - self.log_sum
    }
}

/// The probabilities of a softmax without keeping them: `prob(x) = exp(x − max) / sum`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Softmax {
    max: f32,
    sum: f64,
}

impl Softmax {
    /// The softmax over `scores`, of which at least one must be finite and none NaN.
    pub(super) fn of(scores: &[f32]) -> Self {
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum = scores.iter().map(|&x| f64::from((x - max).exp())).sum();
        Self { max, sum }
    }

    /// The probability of an element with this score.
    pub(super) fn prob(self, score: f32) -> f32 {
        (f64::from((score - self.max).exp()) / self.sum) as f32
    }
}

/// The index of the largest score, the lowest such index on a tie; `None` if no score is above −∞.
pub(super) fn argmax(scores: &[f32]) -> Option<usize> {
    let mut best = None;
    let mut max = f32::NEG_INFINITY;
    for (i, &score) in scores.iter().enumerate() {
        if score > max {
            max = score;
            best = Some(i);
        }
    }
    best
}

/// Larger scores first. Of use only where there is no NaN.
pub(super) fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

/// Collects the `k` best of many scored items. Of equal scores the earlier pushed is better, and
/// a score of −∞ is no candidate.
///
/// Holds at most `2 k` items and cuts them back by selection, so that a pass over `n` scores costs
/// `O(n)` and sorts only what it keeps.
#[derive(Debug)]
pub(super) struct TopK<T> {
    k: usize,
    pushed: usize,
    bar: f32,
    items: Vec<(f32, usize, T)>,
}

impl<T> TopK<T> {
    pub(super) fn new(k: usize) -> Self {
        Self {
            k,
            pushed: 0,
            bar: f32::NEG_INFINITY,
            items: Vec::with_capacity(2 * k),
        }
    }

    pub(super) fn push(&mut self, score: f32, item: T) {
        if score > self.bar && self.k > 0 {
            self.items.push((score, self.pushed, item));
            self.pushed += 1;
            if self.items.len() == 2 * self.k {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if self.items.len() <= self.k {
            return;
        }
        self.items
            .select_nth_unstable_by(self.k - 1, |a, b| descending(a.0, b.0).then(a.1.cmp(&b.1)));
        self.items.truncate(self.k);
        self.bar = self.items[self.k - 1].0;
    }

    /// The best, in order.
    pub(super) fn into_sorted(mut self) -> impl Iterator<Item = (f32, T)> {
        self.cut();
        self.items
            .sort_unstable_by(|a, b| descending(a.0, b.0).then(a.1.cmp(&b.1)));
        self.items.into_iter().map(|(score, _, item)| (score, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizer_is_exact_where_a_plain_sum_of_exponentials_overflows() {
        let norm = LogNormalizer::of(&[1000.0, 1000.0]).unwrap();
        assert!((norm.log_prob(1000.0) + 2f32.ln()).abs() < 1e-7);
        let norm = LogNormalizer::of(&[-1000.0, f32::NEG_INFINITY]).unwrap();
        assert_eq!(norm.log_prob(-1000.0), 0.0);
        assert_eq!(norm.log_prob(f32::NEG_INFINITY), f32::NEG_INFINITY);
    }

    #[test]
    fn normalizer_names_what_is_no_distribution() {
        assert!(
            LogNormalizer::of(&[1.0, f32::NAN, f32::INFINITY])
                .unwrap_err()
                .is_nan()
        );
        assert_eq!(
            LogNormalizer::of(&[1.0, f32::INFINITY]).unwrap_err(),
            f32::INFINITY
        );
        assert_eq!(LogNormalizer::of(&[]).unwrap_err(), f32::NEG_INFINITY);
    }

    #[test]
    fn argmax_takes_the_first_of_equals_and_nothing_of_nothing() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), Some(1));
        assert_eq!(argmax(&[f32::NEG_INFINITY; 4]), None);
    }

    #[test]
    fn top_k_keeps_the_order_of_a_stable_sort() {
        let mut state = 7u32;
        for k in 0..20 {
            // Coarse scores, so that ties abound.
            let scores: Vec<f32> = (0..257)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 28) as f32
                })
                .collect();
            let mut expected: Vec<(f32, usize)> =
                scores.iter().copied().zip(0..scores.len()).collect();
            expected.sort_by(|a, b| descending(a.0, b.0));
            expected.truncate(k);
            let mut top = TopK::new(k);
            for (i, &score) in scores.iter().enumerate() {
                top.push(score, i);
            }
            assert_eq!(top.into_sorted().collect::<Vec<_>>(), expected, "k = {k}");
        }
    }
}
