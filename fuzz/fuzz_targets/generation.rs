//! Generation arguments of any kind on random logits.
#![no_main]

use std::{convert::Infallible, error::Error};

use arbitrary::Arbitrary;
use blip2_lm::generate::{
    DecodeSession, EarlyStopping, GenerationConfig, Generator, Logits, TokenDecoder,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    lengths: (u8, Option<u8>, u8),
    beams: (u8, u8, f64),
    sampling: (bool, f64, usize, f64, Option<f64>, f64, u64),
    rules: (f64, u8, Vec<Vec<u32>>, Vec<u32>),
    stops: Vec<String>,
    stopping: u8,
    vocabulary: u8,
    prompts: Vec<Vec<u8>>,
    logits: Vec<f32>,
}

/// Logits from a list that is gone round in.
struct Session {
    vocabulary: usize,
    rows: usize,
    logits: Vec<f32>,
    at: usize,
}

impl Session {
    fn next(&mut self) -> Result<Logits, Infallible> {
        let count = self.rows * self.vocabulary;
        let data = (0..count).map(|n| match self.logits.is_empty() {
            true => 0.0,
            false => self.logits[(self.at + n) % self.logits.len()],
        });
        let data = data.collect();
        self.at += count;
        Ok(Logits::new(data, self.vocabulary).expect("whole rows"))
    }
}

impl DecodeSession for Session {
    type Error = Infallible;

    fn vocab_size(&self) -> usize {
        self.vocabulary
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn prefill(&mut self) -> Result<Logits, Infallible> {
        self.next()
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, Infallible> {
        assert_eq!(parents.len(), tokens.len());
        assert!(parents.iter().all(|&parent| parent < self.rows));
        assert!(
            tokens
                .iter()
                .all(|&token| (token as usize) < self.vocabulary)
        );
        self.rows = parents.len();
        self.next()
    }

    fn remaining_positions(&self) -> Option<usize> {
        None
    }
}

/// Each id is a byte.
struct Bytes;

impl TokenDecoder for Bytes {
    fn decode(&self, ids: &[u32]) -> Result<String, Box<dyn Error + Send + Sync>> {
        let bytes: Vec<u8> = ids.iter().map(|&id| id as u8).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fuzz_target!(|input: Input| {
    let vocabulary = usize::from(input.vocabulary % 40) + 1;
    let stopping = [
        EarlyStopping::False,
        EarlyStopping::True,
        EarlyStopping::Never,
    ];
    let config = GenerationConfig::default()
        .with_max_new_tokens(usize::from(input.lengths.0 % 16))
        .with_min_new_tokens(input.lengths.1.map(usize::from))
        .with_min_length(input.lengths.2.into())
        .with_num_beams(usize::from(input.beams.0 % 8))
        .with_num_return_sequences(usize::from(input.beams.1 % 8))
        .with_length_penalty(input.beams.2)
        .with_early_stopping(stopping[usize::from(input.stopping) % 3])
        .with_do_sample(input.sampling.0)
        .with_temperature(input.sampling.1)
        .with_top_k(input.sampling.2)
        .with_top_p(input.sampling.3)
        .with_min_p(input.sampling.4)
        .with_typical_p(input.sampling.5)
        .with_seed(input.sampling.6)
        .with_repetition_penalty(input.rules.0)
        .with_no_repeat_ngram_size(input.rules.1.into())
        .with_bad_words_ids(input.rules.2)
        .with_eos_token_id(input.rules.3)
        .with_stop_strings(input.stops);
    let prompts = input.prompts.into_iter().take(4);
    let ids = |prompt: Vec<u8>| prompt.into_iter().map(u32::from).collect();
    let prompts: Vec<Vec<u32>> = prompts.map(ids).collect();
    let Ok(generator) = Generator::new(config) else {
        return;
    };
    let mut session = Session {
        vocabulary,
        rows: prompts.len(),
        logits: input.logits,
        at: 0,
    };
    let generator = generator.token_decoder(Bytes);
    if let Ok(all) = generator.generate(&mut session, &prompts) {
        assert_eq!(all.len(), prompts.len());
    }
});
