//! Sampling and beam sampling.

use std::collections::BTreeSet;

use blip2_lm::generate::{Generated, GenerationConfig, Generator};

use crate::generate_support::{FnSession, Tables, table_session};

fn sample(tables: &Tables, prompts: &[Vec<u32>], kwargs: &str, seed: u64) -> Vec<Vec<Generated>> {
    let config = serde_json::from_str::<GenerationConfig>(kwargs)
        .unwrap()
        .with_do_sample(true)
        .with_seed(seed);
    Generator::new(config)
        .unwrap()
        .generate(&mut table_session(tables, prompts), prompts)
        .unwrap()
}

#[test]
fn a_seed_decides_and_the_batch_does_not() {
    let tables = Tables::random(60, 1.5, 2);
    let prompts = [vec![1, 2], vec![3], vec![9, 8, 7]];
    for kwargs in [
        r#"{"num_return_sequences": 3}"#,
        r#"{"top_p": 0.9, "temperature": 1.3}"#,
        r#"{"num_beams": 3, "num_return_sequences": 2}"#,
    ] {
        let first = sample(&tables, &prompts, kwargs, 7);
        assert_eq!(first, sample(&tables, &prompts, kwargs, 7));
        assert_ne!(first, sample(&tables, &prompts, kwargs, 8));
        for (prompt, expected) in prompts.iter().zip(&first) {
            let alone = sample(&tables, std::slice::from_ref(prompt), kwargs, 7);
            assert_eq!(&alone[0], expected, "{kwargs}");
        }
        for row in &first {
            let different: BTreeSet<&[u32]> = row.iter().map(|g| &g.tokens[..]).collect();
            assert_eq!(different.len(), row.len(), "sequences of a row differ");
        }
    }
}

/// The warpers' effect on a distribution that is known: the kept tokens and no others are drawn.
#[test]
fn only_tokens_that_survive_the_warpers_are_drawn() {
    let probs = [0.4f32, 0.3, 0.15, 0.1, 0.05];
    for (kwargs, kept) in [
        (r#"{"top_k": 0}"#, 5),
        (r#"{"top_k": 2}"#, 2),
        (r#"{"top_p": 0.65}"#, 2),
        (r#"{"top_p": 0.75}"#, 3),
        (r#"{"min_p": 0.3}"#, 3),
        (r#"{"temperature": 0.01}"#, 1),
    ] {
        let config = serde_json::from_str::<GenerationConfig>(kwargs)
            .unwrap()
            .with_do_sample(true)
            .with_max_new_tokens(400);
        let prompts = [vec![0]];
        let mut session = FnSession::new(5, &prompts, |_: &[u32]| probs.map(f32::ln).to_vec());
        let results = Generator::new(config)
            .unwrap()
            .generate(&mut session, &prompts)
            .unwrap();
        let drawn: BTreeSet<u32> = results[0][0].tokens.iter().copied().collect();
        assert_eq!(drawn, (0..kept).collect(), "{kwargs}");
    }
}

/// Two of three tokens without replacement: the pair {a, b} comes with probability
/// `p(a) p(b) (1 / (1 − p(a)) + 1 / (1 − p(b)))`.
#[test]
fn beam_sampling_draws_without_replacement() {
    let probs = [0.6f32, 0.3, 0.1];
    let prompts = [vec![0]];
    let draws = 20_000u32;
    let mut pairs = [0u32; 3];
    for seed in 0..draws {
        let config = GenerationConfig::default()
            .with_do_sample(true)
            .with_seed(u64::from(seed))
            .with_top_k(0)
            .with_num_beams(2)
            .with_num_return_sequences(2)
            .with_max_new_tokens(1);
        let mut session = FnSession::new(3, &prompts, |_: &[u32]| probs.map(f32::ln).to_vec());
        let results = Generator::new(config)
            .unwrap()
            .generate(&mut session, &prompts)
            .unwrap();
        let [best, second] = &results[0][..] else {
            panic!("two sequences")
        };
        assert!(best.score > second.score);
        // The token that is missing names the pair.
        pairs[3 - (best.tokens[0] + second.tokens[0]) as usize] += 1;
    }
    let p = probs.map(f64::from);
    let chi_squared: f64 = [(1, 2), (0, 2), (0, 1)]
        .into_iter()
        .zip(pairs)
        .map(|((a, b), count)| {
            let pair = p[a] * p[b] * (1.0 / (1.0 - p[a]) + 1.0 / (1.0 - p[b]));
            let expected = pair * f64::from(draws);
            (f64::from(count) - expected).powi(2) / expected
        })
        .sum();
    // 2 degrees of freedom: one run in a thousand lies above.
    assert!(chi_squared < 13.82, "{pairs:?}: {chi_squared}");
}

/// However narrow the warpers, beams keep one token more than there are end tokens.
#[test]
fn beam_sampling_can_go_on_when_the_likeliest_tokens_end() {
    let prompts = [vec![0]];
    let goes_on = |seed| {
        let config = GenerationConfig::default()
            .with_do_sample(true)
            .with_seed(seed)
            .with_top_k(1)
            .with_num_beams(2)
            .with_num_return_sequences(2)
            .with_eos_token_id([0, 1]);
        let mut session = FnSession::new(4, &prompts, |_: &[u32]| {
            [0.4f32, 0.3, 0.2, 0.1].map(f32::ln).to_vec()
        });
        let results = Generator::new(config)
            .unwrap()
            .generate(&mut session, &prompts)
            .unwrap();
        let mut tokens = results[0].iter().flat_map(|g| &g.tokens);
        assert!(
            tokens.clone().all(|&token| token < 3),
            "the fourth token is cut"
        );
        tokens.any(|&token| token == 2)
    };
    assert!((0..40).any(goes_on));
}
