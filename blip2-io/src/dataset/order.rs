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

/// Shuffles as a stream would be that is read in its order: each place is a random one of `buffer` items
/// that wait.
pub(super) fn shuffle_buffered<T>(
    items: Vec<T>,
    buffer: usize,
    random: &mut impl RngCore,
) -> Vec<T> {
    let buffer = buffer.max(1);
    let mut waiting: Vec<T> = Vec::new();
    let mut order = Vec::with_capacity(items.len());
    for item in items {
        if waiting.len() < buffer {
            waiting.push(item);
            continue;
        }
        let place = below(random, waiting.len());
        order.push(std::mem::replace(&mut waiting[place], item));
    }
    shuffle(&mut waiting, random);
    order.extend(waiting);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_keeps_items_near_their_place() {
        let order = |buffer, seed| {
            let mut random = stream(seed, 0, 0);
            shuffle_buffered((0..100).collect(), buffer, &mut random)
        };
        let shuffled: Vec<usize> = order(8, 1);
        assert_ne!(shuffled, order(8, 2));
        assert_eq!(shuffled, order(8, 1));
        // Nothing comes before the buffer has reached it.
        assert!(
            shuffled
                .iter()
                .enumerate()
                .all(|(at, &item)| item <= at + 8)
        );
        let mut all = shuffled.clone();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(order(1, 1).len(), 100);
    }
}
