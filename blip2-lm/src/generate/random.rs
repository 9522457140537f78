//! The random numbers of sampling.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A seeded stream of random numbers, the same on every platform.
#[derive(Clone, Debug)]
pub(super) struct RandomStream(ChaCha8Rng);

impl RandomStream {
    /// Stream number `stream` of `seed`. Streams are independent of each other.
    ///
    /// Rows of a batch share their stream numbers, which count the sequences returned for a row:
    /// so a row draws the same alone or at any place of a batch.
    pub(super) fn new(seed: u64, stream: usize) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream as u64);
        Self(rng)
    }

    /// Uniform in the open interval (0, 1), in steps of 2⁻⁵²; both ends are out so that its
    /// logarithm, taken twice, is finite.
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Draws an index with the probabilities of the softmax of `scores`; one draw of
    /// [`uniform`](Self::uniform) against the cumulative sum. `None` if no score is above −∞.
    pub(super) fn multinomial(&mut self, scores: &[f32]) -> Option<usize> {
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |score: f32| f64::from((score - max).exp());
        let possible = || {
            let scores = scores.iter().copied().enumerate();
            scores.filter(|&(_, score)| score > f32::NEG_INFINITY)
        };
        let total: f64 = possible().map(|(_, score)| weight(score)).sum();
        let mut rest = self.uniform() * total;
        let mut drawn = None;
        for (i, score) in possible() {
            let weight = weight(score);
            // Rounding may leave a rest after the last token; the last possible one takes it.
            if weight > 0.0 {
                drawn = Some(i);
            }
            rest -= weight;
            if rest < 0.0 {
                break;
            }
        }
        drawn
    }

    /// A draw of the standard Gumbel distribution: adding one to each log-probability and taking
    /// the `k` largest draws `k` without replacement (<https://arxiv.org/abs/1903.06059>).
    pub(super) fn gumbel(&mut self) -> f32 {
        -(-self.uniform().ln()).ln() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users rely on a seed, so the draws must never change. The numbers are the upper 52 bits of
    /// ChaCha with 8 rounds as computed apart from this crate; the key is 42 in little-endian.
    #[test]
    fn a_seed_means_the_same_numbers_for_ever() {
        for (stream, golden) in GOLDEN.iter().enumerate() {
            let mut random = RandomStream::new(42, stream);
            let bits = [(); 3].map(|()| (random.uniform() * (1u64 << 52) as f64) as u64);
            assert_eq!(bits, *golden, "stream {stream}");
        }
    }

    const GOLDEN: [[u64; 3]; 2] = [
        [
            1_568_398_694_783_226,
            1_286_671_979_080_159,
            2_222_402_406_076_361,
        ],
        [
            3_498_683_691_598_953,
            909_617_020_666_198,
            2_846_903_675_205_918,
        ],
    ];

    #[test]
    fn multinomial_draws_in_proportion() {
        let probs = [0.5f32, 0.0, 0.3, 0.15, 0.05];
        let scores: Vec<f32> = probs.iter().map(|p| p.ln() + 3.0).collect();
        let mut random = RandomStream::new(1, 0);
        let mut counts = [0u32; 5];
        let draws = 40_000;
        for _ in 0..draws {
            counts[random.multinomial(&scores).unwrap()] += 1;
        }
        assert_eq!(counts[1], 0);
        let chi_squared: f64 = probs
            .iter()
            .zip(counts)
            .filter(|(p, _)| **p > 0.0)
            .map(|(&p, count)| {
                let expected = f64::from(p) * f64::from(draws);
                (f64::from(count) - expected).powi(2) / expected
            })
            .sum();
        // 3 degrees of freedom: one seed in a thousand lies above.
        assert!(chi_squared < 16.27, "{counts:?}: {chi_squared}");
        assert_eq!(random.multinomial(&[f32::NEG_INFINITY; 3]), None);
    }
}
