//! Numbers that wait in half of their memory.

use super::{
    buffers::Floats,
    isa::{Isa, vectorized},
    math, threads,
};

/// Pairs of numbers that a thread takes at once.
const SHARE: usize = 1 << 13;

/// Numbers in bf16, two in the place of one, for as long as nobody computes with them.
#[derive(Debug)]
pub(crate) struct Narrowed {
    /// Of each share: number `i` in the lower half of pair `i`, the second half of the numbers in the upper ones,
    /// so that nothing has to change its lane.
    pairs: Floats,
    len: usize,
}

impl Narrowed {
    /// Rounds to the nearest, ties to even.
    pub(crate) fn new(isa: Isa, values: &[f32]) -> Self {
        let mut pairs = Floats::any(values.len().div_ceil(2));
        let shares = values.chunks(2 * SHARE).zip(pairs.chunks_mut(SHARE));
        threads::each(shares, |(values, pairs)| narrow(isa, values, pairs));
        let len = values.len();
        Self { pairs, len }
    }

    /// How many numbers there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The rounded numbers.
    pub(crate) fn widened(&self, isa: Isa) -> Floats {
        let mut values = Floats::any(self.len);
        let shares = self.pairs.chunks(SHARE).zip(values.chunks_mut(2 * SHARE));
        threads::each(shares, |(pairs, values)| widen(isa, pairs, values));
        values
    }
}

vectorized! {
    fn narrow(values: &[f32], pairs: &mut [f32]) {
        let (lower, upper) = values.split_at(pairs.len());
        let whole = pairs.iter_mut().zip(lower).zip(upper);
        for ((pair, &lower), &upper) in whole {
            *pair = f32::from_bits(math::bf16_bits(lower) | (math::bf16_bits(upper) << 16));
        }
        // Of an odd number the last has nothing beside it.
        if let Some((pair, &lower)) = pairs.iter_mut().zip(lower).nth(upper.len()) {
            *pair = f32::from_bits(math::bf16_bits(lower));
        }
    }
}

vectorized! {
    fn widen(pairs: &[f32], values: &mut [f32]) {
        let (lower, upper) = values.split_at_mut(pairs.len());
        for (value, pair) in lower.iter_mut().zip(pairs) {
            *value = f32::from_bits(pair.to_bits() << 16);
        }
        for (value, pair) in upper.iter_mut().zip(pairs) {
            *value = f32::from_bits(pair.to_bits() & 0xffff_0000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_values;

    #[test]
    fn numbers_come_back_rounded_to_bf16_in_their_order() {
        for len in [
            0,
            1,
            2,
            3,
            31,
            2 * SHARE - 1,
            2 * SHARE,
            2 * SHARE + 1,
            5 * SHARE + 7,
        ] {
            let mut values = random_values(len, len as u64);
            for (value, special) in values.iter_mut().zip([f32::INFINITY, -0.0, 3.4e38, 1e-40]) {
                *value = special;
            }
            for isa in Isa::available() {
                let found = Narrowed::new(isa, &values).widened(isa);
                let expected = values
                    .iter()
                    .map(|&value| half::bf16::from_f32(value).to_f32());
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(
                    bits(&found),
                    bits(&expected.collect::<Vec<_>>()),
                    "{isa}, {len}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let isa = Isa::active();
        let found = Narrowed::new(isa, &[1.0, f32::NAN, f32::NAN]).widened(isa);
        assert_eq!(found[0], 1.0);
        assert!(found[1].is_nan() && found[2].is_nan());
    }
}
