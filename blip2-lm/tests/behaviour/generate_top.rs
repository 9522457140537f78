//! Tokens are chosen of the largest logits as of all.

use blip2_lm::generate::{Batch, Generated, GenerationConfig, Generator};
use proptest::prelude::*;

use crate::generate_support::{Bytes, Tables, configs, largest::Largest, table_session};

/// Tables whose numbers tie everywhere, and some of which are impossible.
fn coarse(mut tables: Tables) -> Tables {
    for x in tables.tables.iter_mut().flatten().flatten() {
        *x = if *x < -1.7 {
            f32::NEG_INFINITY
        } else {
            x.round()
        };
    }
    tables
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Beams, draws and penalties, whatever number of logits is given and however many of them tie.
    #[test]
    fn the_largest_logits_decide_as_all_do(
        config in configs(),
        vocab in 2usize..150,
        seed in any::<u64>(),
        is_coarse in any::<bool>(),
        most in 1usize..140,
        crowded in 2usize..9,
        prompts in prop::collection::vec(prop::collection::vec(0u32..30, 0..4), 1..4),
    ) {
        let tables = Tables::random(vocab, 2.0, seed);
        let tables = if is_coarse { coarse(tables) } else { tables };
        let generator = Generator::new(config).unwrap().token_decoder(Bytes);
        let whole = generator.generate(&mut table_session(&tables, &prompts), &prompts);
        let mut session = Largest::new(table_session(&tables, &prompts), most, crowded);
        let largest = generator.generate(&mut session, &prompts);
        match (largest, whole) {
            (Ok(largest), Ok(whole)) => same(&largest, &whole),
            (Err(largest), Err(whole)) => {
                prop_assert_eq!(largest.to_string(), whole.to_string());
            }
            (largest, whole) => prop_assert!(false, "{largest:?}, {whole:?}"),
        }
    }
}

/// Fails unless both are the same but for the last digits of log-probabilities.
#[track_caller]
fn same(found: &[Vec<Generated>], expected: &[Vec<Generated>]) {
    let lengths = |results: &[Vec<Generated>]| results.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(found), lengths(expected));
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert_eq!(found.tokens, expected.tokens);
        assert_eq!(found.finish_reason, expected.finish_reason);
        assert_eq!(found.score.is_some(), expected.score.is_some());
        let numbers = |of: &Generated| of.logprobs.iter().copied().chain(of.score).collect();
        let [found, expected]: [Vec<f32>; 2] = [numbers(found), numbers(expected)];
        for (found, expected) in found.iter().zip(&expected) {
            let off = (found - expected).abs();
            assert!(off <= 1e-5 * expected.abs().max(1.0), "{found}, {expected}");
        }
    }
}

/// What usual arguments ask for is enough: no step reads all logits.
#[test]
fn all_logits_are_seldom_needed() {
    let tables = Tables::random(3000, 4.0, 5);
    let prompts = vec![(0..40).collect(), vec![7]];
    let config = || GenerationConfig::default().with_max_new_tokens(12);
    let beams = config().with_num_beams(5).with_eos_token_id([3]);
    let drawn = config().with_do_sample(true).with_temperature(0.7);
    for config in [
        beams.clone(),
        beams.with_repetition_penalty(1.5).with_min_length(60),
        config().with_no_repeat_ngram_size(2),
        config().with_bad_words_ids([vec![5], vec![6, 7]]),
        drawn.clone().with_top_p(0.9),
        drawn
            .with_repetition_penalty(1.2)
            .with_num_return_sequences(3),
    ] {
        let generator = Generator::new(config).unwrap();
        let mut session = Largest::new(table_session(&tables, &prompts), 128, usize::MAX);
        let found = generator.generate(&mut session, &prompts).unwrap();
        assert!(session.given >= 12, "{generator:?}");
        assert_eq!(session.read, 0, "{generator:?}");
        let mut session = table_session(&tables, &prompts);
        let whole = generator.generate(&mut session, &prompts).unwrap();
        same(&found, &whole);
    }
}

/// Arguments for which no few logits do.
#[test]
fn all_logits_are_asked_for_where_all_count() {
    let tables = Tables::random(300, 2.0, 5);
    let config = GenerationConfig::default().with_max_new_tokens(4);
    let drawn = config.clone().with_do_sample(true);
    for config in [
        drawn.clone().with_top_k(0),
        drawn.clone().with_top_k(121),
        drawn.clone().with_top_k(usize::MAX),
        drawn.with_num_beams(2),
        config.clone().with_num_beams(61),
        config.clone().with_repetition_penalty(0.9),
        config.with_top_logprobs(2),
    ] {
        let generator = Generator::new(config).unwrap();
        let mut session = Largest::new(table_session(&tables, &[vec![1]]), 128, 2);
        generator.generate(&mut session, &[vec![1]]).unwrap();
        assert_eq!((session.given, session.read), (0, 0), "{generator:?}");
    }
}

/// Rows of a batch that each want something else get what they would get alone.
#[test]
fn rows_that_want_different_things_share_a_step() {
    let tables = Tables::random(500, 3.0, 8);
    let config = || GenerationConfig::default().with_max_new_tokens(9);
    let rows = [
        config(),
        config().with_eos_token_id([2, 9]).with_min_new_tokens(4),
        config().with_repetition_penalty(1.3),
        config().with_do_sample(true).with_seed(4),
    ];
    let prompts: Vec<Vec<u32>> = (0..4).map(|row| vec![row, 3, 11]).collect();
    let generators: Vec<_> = rows
        .into_iter()
        .map(|config| Generator::new(config).unwrap().token_decoder(Bytes))
        .collect();
    for all in [false, true] {
        let most = if all { 128 } else { 3 };
        let mut session = Largest::new(table_session(&tables, &prompts), most, usize::MAX);
        let rows = generators.iter().cloned().zip(prompts.iter().cloned());
        let mut batch = Batch::new(&mut session, rows.collect()).unwrap();
        while !batch.is_finished() {
            for (_, piece) in batch.step().unwrap() {
                piece.unwrap();
            }
        }
        let together = batch.into_generated();
        assert!(session.given > 0);
        assert_eq!(session.read == 0, all);
        for ((generator, prompt), found) in generators.iter().zip(&prompts).zip(together) {
            let prompts = [prompt.clone()];
            let alone = generator.generate(&mut table_session(&tables, &prompts), &prompts);
            same(&[found], &alone.unwrap());
        }
    }
}
