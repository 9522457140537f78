//! Beams, draws and penalties by the largest logits of a row, which a device finds, against all logits.

use blip2_core::{
    Blip2Pipeline, GenerationConfig, Options,
    generate::{Generated, Generator, Logits},
    gpu::Watch,
    model::LanguageModel,
};
use blip2_lm::{DecodeSession, LmError, Session};
use blip2_testing::picture;

use super::{ALONE, fixture};

const FIXTURES: [&str; 3] = ["blip2_opt", "blip2_t5", "instructblip_llama"];

/// How many tokens are written.
const TOKENS: usize = 6;

/// A session that gives all logits, whatever it is asked for.
struct Whole<S>(S);

impl<S: DecodeSession> DecodeSession for Whole<S> {
    type Error = S::Error;

    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn prefill(&mut self) -> Result<Logits, S::Error> {
        self.0.prefill()
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, S::Error> {
        self.0.step(parents, tokens)
    }
}

fn start(model: &LanguageModel) -> Session<&LanguageModel> {
    let embeds = model.embed(&prompts()).unwrap();
    let mask = vec![vec![true; 4]; 2];
    model.start(embeds, &mask, Some(0), TOKENS).unwrap()
}

fn prompts() -> [Vec<u32>; 2] {
    [vec![5, 6, 7, 8], vec![9, 10, 11, 12]]
}

/// What is written, and the bytes that were read back for it.
fn written(
    session: &mut impl DecodeSession<Error = LmError>,
    config: &GenerationConfig,
) -> (Vec<Generated>, u64) {
    let generator = Generator::new(config.clone()).unwrap();
    let watch = Watch::new();
    let results = generator.generate(session, &prompts()).unwrap();
    (results.concat(), watch.bytes_read())
}

/// Writes with the largest logits and with all: the same, by reading `k` logits of each of `rows` rows.
#[track_caller]
fn compare(blip2: &Blip2Pipeline, config: &GenerationConfig, k: usize, rows: usize) {
    let vocab = blip2.model().language_model().vocab_size();
    let [read, read_whole] = same(blip2, config);
    assert_eq!(read_whole as usize, rows * vocab * 4, "{config:?}");
    assert_eq!(read as usize, rows * (3 + 2 * k) * 4, "{config:?}");
}

/// The bytes that were read back by the largest logits and by all, for the same result.
#[track_caller]
fn same(blip2: &Blip2Pipeline, config: &GenerationConfig) -> [u64; 2] {
    let model = blip2.model().language_model();
    let (found, read) = written(&mut start(model), config);
    let (expected, read_whole) = written(&mut Whole(start(model)), config);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.tokens, expected.tokens, "{config:?}");
        assert_eq!(found.finish_reason, expected.finish_reason);
        let numbers = |of: &Generated| of.logprobs.iter().copied().chain(of.score).collect();
        let [found, expected]: [Vec<f32>; 2] = [numbers(found), numbers(expected)];
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{found}, {expected}");
        }
    }
    [read, read_whole]
}

fn config() -> GenerationConfig {
    GenerationConfig::default().with_max_new_tokens(TOKENS)
}

#[test]
fn beams_read_a_few_logits_and_not_all() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    for name in FIXTURES {
        let blip2 = fixture(name, false);
        // Two prompts, then the beams of both.
        let rows = |beams: usize| 2 + 2 * beams * (TOKENS - 1);
        let three = config().with_num_beams(3).with_num_return_sequences(3);
        compare(&blip2, &three, 6 + 8, rows(3));
        // End tokens that may not come yet.
        let ends = three.with_eos_token_id([4, 17]).with_min_new_tokens(TOKENS);
        compare(&blip2, &ends, 9 + 8 + 2, rows(3));
        let five = config().with_num_beams(5).with_no_repeat_ngram_size(2);
        let history = five.with_repetition_penalty(1.5);
        same(&blip2, &history);
    }
}

#[test]
fn draws_read_the_likeliest_and_not_all() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    for name in FIXTURES {
        let blip2 = fixture(name, false);
        let rows = 2 * TOKENS;
        for seed in 0..4 {
            let drawn = config().with_do_sample(true).with_seed(seed);
            let fifty = drawn.clone().with_temperature(0.7);
            compare(&blip2, &fifty, 50 + 8, rows);
            let few = drawn.with_top_k(20).with_top_p(0.9).with_temperature(1.6);
            compare(&blip2, &few, 20 + 8, rows);
        }
        let words = config().with_bad_words_ids([vec![3], vec![8], vec![9, 2]]);
        compare(&blip2, &words, 1 + 8 + 3, rows);
    }
}

/// Also through a pipeline: an answer by beams reads less than a single row of logits.
#[test]
fn answers_by_beams_read_a_few_logits() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let blip2 = fixture("blip2_opt", false);
    let options = |config: GenerationConfig| {
        let config = config.with_max_new_tokens(3).with_num_beams(2);
        Options::default().with_generation(config)
    };
    let watch = Watch::new();
    let ask = |config| {
        blip2
            .answer_with(&picture(2), "what is it?", &options(config))
            .unwrap()
    };
    let found = ask(GenerationConfig::default());
    let read = watch.bytes_read();
    let vocab = blip2.model().language_model().vocab_size() as u64;
    assert!(read > 0 && read < 4 * vocab, "{read}");
    // A repetition that is favoured needs all logits; at a penalty that favours it by nothing but a
    // rounding, the tokens are the same.
    let nearly_one = GenerationConfig::default().with_repetition_penalty(1.0 - 1e-9);
    assert_eq!(ask(nearly_one).token_ids(), found.token_ids());
    assert!(watch.bytes_read() - read >= 4 * 3 * vocab);
}
