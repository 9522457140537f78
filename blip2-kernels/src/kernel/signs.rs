//! Which numbers are above zero: all that ReLU's derivative asks of them.

use super::{
    buffers::Floats,
    isa::{Isa, vectorized},
    threads,
};

/// The numbers of a word.
const WORD: usize = 32;
/// Words that a thread takes at once.
const SHARE: usize = 1 << 9;

/// A bit for each number, in a thirty-second of its memory.
#[derive(Debug)]
pub(crate) struct Signs {
    /// Number `i` of a word's numbers in its bit `i`.
    words: Vec<u32>,
    len: usize,
}

impl Signs {
    /// What is no number is not above zero.
    pub(crate) fn new(isa: Isa, values: &[f32]) -> Self {
        let mut words = vec![0; values.len().div_ceil(WORD)];
        let shares = values.chunks(SHARE * WORD).zip(words.chunks_mut(SHARE));
        threads::each(shares, |(values, words)| pack(isa, values, words));
        let len = values.len();
        Self { words, len }
    }

    /// 1 for each number above zero, and 0 for the others.
    pub(crate) fn steps(&self, isa: Isa) -> Floats {
        let mut steps = Floats::any(self.len);
        let shares = self.words.chunks(SHARE).zip(steps.chunks_mut(SHARE * WORD));
        threads::each(shares, |(words, steps)| unpack(isa, words, steps));
        steps
    }
}

vectorized! {
    fn pack(values: &[f32], words: &mut [u32]) {
        for (word, values) in words.iter_mut().zip(values.chunks(WORD)) {
            *word = 0;
            for (bit, &value) in values.iter().enumerate() {
                *word |= u32::from(value > 0.0) << bit;
            }
        }
    }
}

vectorized! {
    fn unpack(words: &[u32], steps: &mut [f32]) {
        for (word, steps) in words.iter().zip(steps.chunks_mut(WORD)) {
            for (bit, step) in steps.iter_mut().enumerate() {
                *step = if word >> bit & 1 == 1 { 1.0 } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_values;

    #[test]
    fn each_number_is_told_from_those_that_are_not_above_zero() {
        for len in [0, 1, 31, 32, 33, SHARE * WORD + 7] {
            let mut values = random_values(len, len as u64);
            let special = [f32::NAN, 0.0, -0.0, 1e-45, -1e-45, f32::INFINITY];
            for (value, special) in values.iter_mut().zip(special) {
                *value = special;
            }
            let expected: Vec<f32> = values
                .iter()
                .map(|&value| if value > 0.0 { 1.0 } else { 0.0 })
                .collect();
            for isa in Isa::available() {
                let found = Signs::new(isa, &values).steps(isa);
                assert_eq!(&*found, expected, "{isa}, {len}");
            }
        }
    }
}
