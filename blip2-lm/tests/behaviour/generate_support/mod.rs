//! Models without weights, for tests of the decoding engine.
#![allow(dead_code)] // each test file uses its own part

use std::convert::Infallible;
use std::error::Error;

use blip2_lm::generate::{
    DecodeSession, EarlyStopping, GenerationConfig, JoinSession, Logits, NextTokens, Position,
    TokenConstraint, TokenDecoder,
};
use proptest::prelude::*;

pub(crate) mod largest;

/// Logits from tables: `last[last id] + previous[id before] + step[length]`, each taken modulo the
/// rows of its table.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) vocab: usize,
    pub(crate) tables: [Vec<Vec<f32>>; 3],
}

impl Tables {
    /// Reproducible tables of uniform numbers in (−scale, scale).
    pub(crate) fn random(vocab: usize, scale: f32, seed: u64) -> Self {
        let mut random = Lcg(seed);
        let mut table = || {
            (0..8)
                .map(|_| (0..vocab).map(|_| scale * random.symmetric()).collect())
                .collect()
        };
        Self {
            vocab,
            tables: [table(), table(), table()],
        }
    }

    pub(crate) fn logits(&self, ids: &[u32]) -> Vec<f32> {
        let [last, previous, step] = &self.tables;
        let back = |n: usize| ids.len().checked_sub(n).map_or(0, |i| ids[i] as usize);
        let rows = [
            &last[back(1) % last.len()],
            &previous[back(2) % previous.len()],
            &step[ids.len() % step.len()],
        ];
        (0..self.vocab)
            .map(|t| rows[0][t] + rows[1][t] + rows[2][t])
            .collect()
    }
}

/// A linear congruential generator: enough for test data.
pub(crate) struct Lcg(pub u64);

impl Lcg {
    pub(crate) fn next_u32(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub(crate) fn symmetric(&mut self) -> f32 {
        self.next_u32() as f32 / (1u32 << 30) as f32 - 1.0
    }
}

/// A session over any function from ids to logits. It keeps each row's whole sequence, and checks
/// that the engine's parents and tokens make sense.
pub(crate) struct FnSession<F> {
    pub(crate) vocab: usize,
    pub(crate) logits: F,
    pub(crate) rows: Vec<Vec<u32>>,
    pub(crate) remaining: Option<usize>,
    /// The number of rows of the prefill and of each step.
    pub(crate) batches: Vec<usize>,
}

impl<F: FnMut(&[u32]) -> Vec<f32>> FnSession<F> {
    pub(crate) fn new(vocab: usize, prompts: &[Vec<u32>], logits: F) -> Self {
        Self {
            vocab,
            logits,
            rows: prompts.to_vec(),
            remaining: None,
            batches: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<Logits, Infallible> {
        self.batches.push(self.rows.len());
        let data = self
            .rows
            .iter()
            .flat_map(|ids| (self.logits)(ids))
            .collect();
        Ok(Logits::new(data, self.vocab).unwrap())
    }
}

impl<F: FnMut(&[u32]) -> Vec<f32>> DecodeSession for FnSession<F> {
    type Error = Infallible;

    fn vocab_size(&self) -> usize {
        self.vocab
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn prefill(&mut self) -> Result<Logits, Infallible> {
        assert!(self.batches.is_empty(), "one prefill, first");
        self.run()
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, Infallible> {
        assert_eq!(parents.len(), tokens.len());
        assert!(!tokens.is_empty(), "no step without rows");
        assert!(tokens.iter().all(|&token| (token as usize) < self.vocab));
        self.rows = parents
            .iter()
            .zip(tokens)
            .map(|(&parent, &token)| [&self.rows[parent][..], &[token]].concat())
            .collect();
        self.run()
    }

    fn remaining_positions(&self) -> Option<usize> {
        self.remaining
    }
}

impl<F: FnMut(&[u32]) -> Vec<f32>> JoinSession for FnSession<F> {
    fn join(&mut self, other: Self) -> Result<(), Infallible> {
        assert!(!self.batches.is_empty() && !other.batches.is_empty());
        self.rows.extend(other.rows);
        Ok(())
    }
}

/// A session over tables.
pub(crate) fn table_session<'a>(
    tables: &'a Tables,
    prompts: &[Vec<u32>],
) -> FnSession<impl FnMut(&[u32]) -> Vec<f32> + use<'a>> {
    FnSession::new(tables.vocab, prompts, |ids| tables.logits(ids))
}

/// Allows no token whose sum with the last id divides by `modulus`.
pub(crate) struct Indivisible {
    pub(crate) vocab: usize,
    pub(crate) modulus: u32,
}

impl TokenConstraint for Indivisible {
    fn next_tokens(&self, at: Position<'_>, _scores: &mut [f32]) -> NextTokens {
        let last = at.ids().last().copied().unwrap_or(0);
        NextTokens::Only(
            (0..self.vocab as u32)
                .filter(|token| !(token + last).is_multiple_of(self.modulus))
                .collect(),
        )
    }
}

/// Each id is a byte, as in byte-level BPE; ids from 256 are special and have no text.
pub(crate) struct Bytes;

impl TokenDecoder for Bytes {
    fn decode(&self, ids: &[u32]) -> Result<String, Box<dyn Error + Send + Sync>> {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Logits that make greedy search write `text` after a prompt of one id, byte by byte, then id 256.
pub(crate) fn spelling(text: &str) -> impl FnMut(&[u32]) -> Vec<f32> {
    let bytes: Vec<u32> = text.bytes().map(u32::from).chain([256]).collect();
    move |ids| {
        let mut logits = vec![0.0; 257];
        logits[bytes[(ids.len() - 1).min(bytes.len() - 1)] as usize] = 9.0;
        logits
    }
}

/// Allows the same tokens always.
pub(crate) struct Always(pub(crate) Vec<u32>);

impl TokenConstraint for Always {
    fn next_tokens(&self, _at: Position<'_>, _scores: &mut [f32]) -> NextTokens {
        NextTokens::Only(self.0.clone())
    }
}

/// Any valid arguments.
pub(crate) fn configs() -> impl Strategy<Value = GenerationConfig> {
    let lengths = (1usize..9, 0usize..4, 0usize..12);
    let stopping = [
        EarlyStopping::False,
        EarlyStopping::True,
        EarlyStopping::Never,
    ];
    let stopping = prop::sample::select(stopping.to_vec());
    let beams = (1usize..6, 1usize..6, -2.0f64..3.0, stopping);
    let warpers = (
        any::<bool>(),
        0.05f64..3.0,
        0usize..12,
        0.01f64..=1.0,
        prop::option::of(0.0f64..=1.0),
        0.01f64..=1.0,
    );
    let rules = (
        prop::sample::select(vec![0.5, 1.0, 1.7]),
        0usize..4,
        prop::collection::vec(prop::collection::vec(0u32..2, 1..3), 0..2),
        prop::collection::vec(0u32..20, 0..4),
        prop::collection::vec("[a-c\u{0}-\u{9}]{1,2}", 0..2),
    );
    (lengths, beams, warpers, rules, any::<u64>()).prop_map(
        |(lengths, beams, warpers, rules, seed)| {
            let single = beams.0 == 1 && !warpers.0;
            GenerationConfig::default()
                .with_max_new_tokens(lengths.0)
                .with_min_new_tokens((lengths.1 > 0).then_some(lengths.1.min(lengths.0)))
                .with_min_length(lengths.2)
                .with_num_beams(beams.0)
                .with_num_return_sequences(if single {
                    1
                } else if beams.0 == 1 {
                    beams.1
                } else {
                    beams.1.min(beams.0)
                })
                .with_length_penalty(beams.2)
                .with_early_stopping(beams.3)
                .with_do_sample(warpers.0)
                .with_temperature(warpers.1)
                .with_top_k(warpers.2)
                .with_top_p(warpers.3)
                .with_min_p(warpers.4)
                .with_typical_p(warpers.5)
                .with_seed(seed)
                .with_repetition_penalty(rules.0)
                .with_no_repeat_ngram_size(rules.1)
                .with_bad_words_ids(rules.2)
                .with_eos_token_id(rules.3)
                .with_stop_strings(rules.4)
        },
    )
}
