//! The order in which examples are seen.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A stream of random numbers that follows from these alone.
pub(super) fn stream(seed: u64, epoch: u64, purpose: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    for (part, number) in key.chunks_exact_mut(8).zip([seed, epoch, purpose, 0]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A uniform number below `bound`, by multiplication and shift (Lemire, 2019) without his rejection:
/// the bias is below `bound` · 2⁻⁶⁴.
pub(super) fn below(random: &mut impl RngCore, bound: usize) -> usize {
    ((u128::from(random.next_u64()) * bound as u128) >> 64) as usize
}

/// A number from 0 up to 1.
pub(super) fn unit(random: &mut impl RngCore) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Shuffles (Fisher and Yates).
pub(super) fn shuffle<T>(items: &mut [T], random: &mut impl RngCore) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last + 1));
    }
}
