//! Any model and any valid arguments: the engine keeps its promises and never panics.

use blip2_lm::generate::{FinishReason, GenerateError, GenerationConfig, Generator};
use proptest::prelude::*;

use crate::generate_support::{Bytes, FnSession, Lcg, Tables, configs, table_session};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn results_keep_to_the_arguments(
        config in configs(),
        vocab in 2usize..25,
        seed in any::<u64>(),
        coarse in any::<bool>(),
        prompts in prop::collection::vec(prop::collection::vec(0u32..30, 0..4), 1..4),
        remaining in prop::option::of(0usize..6),
    ) {
        let mut tables = Tables::random(vocab, 2.0, seed);
        if coarse {
            // Ties and impossible tokens everywhere.
            for x in tables.tables.iter_mut().flatten().flatten() {
                *x = if *x < -1.7 { f32::NEG_INFINITY } else { x.round() };
            }
        }
        let mut session = table_session(&tables, &prompts);
        session.remaining = remaining;
        let generator = Generator::new(config.clone()).unwrap().token_decoder(Bytes);
        let results = match generator.generate(&mut session, &prompts) {
            Ok(results) => results,
            Err(GenerateError::NoAllowedToken { .. } | GenerateError::BadLogits { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert_eq!(results.len(), prompts.len());
        let max_new = config.max_new_tokens.unwrap().min(remaining.unwrap_or(99) + 1);
        for (prompt, row) in prompts.iter().zip(&results) {
            prop_assert!(!row.is_empty() && row.len() <= config.num_return_sequences);
            prop_assert!(row.is_sorted_by(|a, b| a.score >= b.score));
            for result in row {
                let (last, before) = result.tokens.split_last().unwrap();
                prop_assert_eq!(result.logprobs.len(), result.tokens.len());
                prop_assert!(result.logprobs.iter().all(|&lp| lp <= 0.0 && lp.is_finite()));
                prop_assert_eq!(result.score.is_some(), config.num_beams > 1);
                prop_assert!(before.iter().all(|token| !config.eos_token_id.contains(token)));
                let ended = config.eos_token_id.contains(last);
                prop_assert_eq!(ended, result.finish_reason == FinishReason::Eos);
                if ended {
                    let min = match config.min_new_tokens {
                        Some(min) => min,
                        None => config.min_length.saturating_sub(prompt.len()),
                    };
                    prop_assert!(before.len() >= min);
                }
                prop_assert!(result.tokens.len() <= max_new);
                match result.finish_reason {
                    FinishReason::MaxTokens => {
                        prop_assert_eq!(result.tokens.len(), config.max_new_tokens.unwrap());
                    }
                    FinishReason::ContextFull => {
                        prop_assert_eq!(result.tokens.len(), remaining.unwrap() + 1);
                    }
                    _ => {}
                }
                let ids = [&prompt[..], &result.tokens].concat();
                let n = config.no_repeat_ngram_size;
                if n > 0 {
                    for at in (prompt.len()..ids.len()).filter(|at| at + 1 >= n) {
                        let gram = &ids[at + 1 - n..=at];
                        prop_assert!(!ids[..at].windows(n).any(|earlier| earlier == gram));
                    }
                }
            }
        }
    }

    /// A vocabulary of one, and beams beyond the vocabulary.
    #[test]
    fn tiny_vocabularies(vocab in 1usize..4, beams in 1usize..9, max_new in 1usize..6) {
        let config = GenerationConfig::default().with_num_beams(beams).with_num_return_sequences(beams).with_max_new_tokens(max_new);
        let tables = Tables::random(vocab, 1.0, 3);
        let prompts = [vec![0]];
        let results = Generator::new(config);
        if beams > 1 {
            let results = results.unwrap().generate(&mut table_session(&tables, &prompts), &prompts).unwrap();
            // As many as there are sequences, if the search can hold them all.
            let possible = vocab.saturating_pow(max_new as u32).min(beams);
            prop_assert_eq!(results[0].len(), possible);
            prop_assert!(results[0].iter().all(|result| result.tokens.len() == max_new));
        }
    }

    /// Garbage for logits: a result or a typed error, never a panic.
    #[test]
    fn any_bits_as_logits(config in configs(), vocab in 2usize..25, seed in any::<u64>(), wild in 0u32..40) {
        let mut random = Lcg(seed);
        let prompts = [vec![1, 2], vec![3]];
        let mut session = FnSession::new(vocab, &prompts, |_: &[u32]| {
            (0..vocab)
                .map(|_| match random.next_u32() % 40 {
                    n if n < wild => f32::from_bits(random.next_u32() << 1),
                    _ => random.symmetric(),
                })
                .collect()
        });
        let generator = Generator::new(config).unwrap().token_decoder(Bytes);
        if let Err(error) = generator.generate(&mut session, &prompts) {
            let typed = matches!(
                error,
                GenerateError::BadLogits { .. } | GenerateError::BadScores { .. } | GenerateError::NoAllowedToken { .. }
            );
            prop_assert!(typed, "{}", error);
        }
    }
}
