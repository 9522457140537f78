//! Arguments, limits and errors of the decoding engine.

use std::fmt;

use blip2_lm::generate::{
    DecodeSession, EarlyStopping, FinishReason, GenerateError, Generated, GenerationConfig,
    Generator, Logits, NextTokens, Position, TokenConstraint, TokenDecoder,
};

use crate::generate_support::{Always, FnSession, Tables, table_session};

fn config(kwargs: &str) -> GenerationConfig {
    serde_json::from_str(kwargs).unwrap()
}

fn generate(kwargs: &str, prompts: &[Vec<u32>]) -> Result<Vec<Vec<Generated>>, GenerateError> {
    let tables = Tables::random(30, 2.0, 1);
    Generator::new(config(kwargs))?.generate(&mut table_session(&tables, prompts), prompts)
}

#[test]
fn the_likeliest_tokens_of_each_step_are_told() {
    let prompts = [vec![1, 2], vec![3]];
    let plain = generate(r#"{"max_new_tokens": 4}"#, &prompts).unwrap();
    let all = generate(r#"{"max_new_tokens": 4, "top_logprobs": 30}"#, &prompts).unwrap();
    let some = generate(r#"{"max_new_tokens": 4, "top_logprobs": 3}"#, &prompts).unwrap();
    for ((plain, all), some) in plain.iter().zip(&all).zip(&some) {
        let (plain, all, some) = (&plain[0], &all[0], &some[0]);
        assert!(plain.top_logprobs.is_empty());
        assert_eq!(
            (&plain.tokens, &plain.logprobs),
            (&some.tokens, &some.logprobs)
        );
        assert_eq!(some.top_logprobs.len(), some.tokens.len());
        for (step, (all, some)) in all.top_logprobs.iter().zip(&some.top_logprobs).enumerate() {
            assert_eq!((all.len(), &all[..3]), (30, some.as_slice()));
            assert!(all.is_sorted_by(|a, b| a.logprob >= b.logprob));
            let sum: f32 = all.iter().map(|token| token.logprob.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
            // The search is greedy.
            assert_eq!(
                (some[0].id, some[0].logprob),
                (plain.tokens[step], plain.logprobs[step])
            );
        }
    }
}

#[test]
fn each_bad_argument_is_named_with_its_value() {
    for (kwargs, argument, value) in [
        (r#"{"num_beams": 0}"#, "num_beams", "0"),
        (r#"{"num_beams": 1025}"#, "num_beams", "1025"),
        (
            r#"{"num_return_sequences": 1025, "do_sample": true}"#,
            "num_return_sequences",
            "1025",
        ),
        (r#"{"max_new_tokens": 0}"#, "max_new_tokens", "0"),
        (r#"{"max_length": 0}"#, "max_length", "0"),
        (r#"{"top_logprobs": 101}"#, "top_logprobs", "101"),
        (
            r#"{"top_logprobs": 3, "num_beams": 2}"#,
            "top_logprobs",
            "3",
        ),
        (r#"{"min_new_tokens": 21}"#, "min_new_tokens", "21"),
        (
            r#"{"min_new_tokens": 5, "max_new_tokens": 4}"#,
            "min_new_tokens",
            "5",
        ),
        (r#"{"min_length": 9, "max_length": 8}"#, "min_length", "9"),
        (
            r#"{"num_return_sequences": 0}"#,
            "num_return_sequences",
            "0",
        ),
        (
            r#"{"num_return_sequences": 2}"#,
            "num_return_sequences",
            "2",
        ),
        (
            r#"{"num_return_sequences": 4, "num_beams": 3}"#,
            "num_return_sequences",
            "4",
        ),
        (r#"{"temperature": 0.0}"#, "temperature", "0"),
        (r#"{"temperature": -1.5}"#, "temperature", "-1.5"),
        (r#"{"temperature": 1e-60}"#, "temperature", "0.000"),
        (r#"{"top_p": 0.0}"#, "top_p", "0"),
        (r#"{"top_p": 1.01}"#, "top_p", "1.01"),
        (r#"{"min_p": -0.1}"#, "min_p", "-0.1"),
        (r#"{"min_p": 1.1}"#, "min_p", "1.1"),
        (r#"{"typical_p": 0.0}"#, "typical_p", "0"),
        (r#"{"typical_p": 2.0}"#, "typical_p", "2"),
        (r#"{"repetition_penalty": 0.0}"#, "repetition_penalty", "0"),
        (
            r#"{"repetition_penalty": -2.0}"#,
            "repetition_penalty",
            "-2",
        ),
        (r#"{"bad_words_ids": [[1], []]}"#, "bad_words_ids", "[]"),
        (r#"{"bad_words_ids": [[1, 99]]}"#, "bad_words_ids", "99"),
        (r#"{"stop_strings": ["a", ""]}"#, "stop_strings", "\"\""),
    ] {
        let error = generate(kwargs, &[vec![1]]).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(&format!("`{argument}` = {value}")),
            "{kwargs}: {message}"
        );
    }
    let nan = |set: fn(&mut GenerationConfig)| {
        let mut config = GenerationConfig::default();
        set(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert!(nan(|c| c.temperature = f64::NAN).contains("`temperature` = NaN"));
    assert!(nan(|c| c.top_p = f64::NAN).contains("`top_p` = NaN"));
    assert!(nan(|c| c.min_p = Some(f64::NAN)).contains("`min_p` = NaN"));
    assert!(nan(|c| c.typical_p = f64::NAN).contains("`typical_p` = NaN"));
    assert!(nan(|c| c.length_penalty = f64::NAN).contains("`length_penalty` = NaN"));
    assert!(nan(|c| c.repetition_penalty = f64::INFINITY).contains("`repetition_penalty` = inf"));
}

#[test]
fn json_is_read_as_transformers_writes_it() {
    assert_eq!(config("{}"), GenerationConfig::default());
    let file = r#"{
        "_from_model_config": true, "bos_token_id": 2, "eos_token_id": 50118, "pad_token_id": 1,
        "temperature": null, "top_k": null, "num_beams": null, "bad_words_ids": null,
        "early_stopping": "never", "stop_strings": "\n", "transformers_version": "5.23.0"
    }"#;
    let read = config(file);
    let expected = GenerationConfig::default()
        .with_eos_token_id([50118])
        .with_pad_token_id(1)
        .with_early_stopping(EarlyStopping::Never)
        .with_stop_strings(["\n".to_owned()]);
    assert_eq!(read, expected);
    assert_eq!(config(&serde_json::to_string(&read).unwrap()), read);
    assert_eq!(config(r#"{"eos_token_id": [2, 3]}"#).eos_token_id, [2, 3]);
    assert_eq!(
        config(r#"{"early_stopping": true}"#).early_stopping,
        EarlyStopping::True
    );
    assert_eq!(
        config(r#"{"early_stopping": false}"#).early_stopping,
        EarlyStopping::False
    );
    assert!(serde_json::from_str::<GenerationConfig>(r#"{"early_stopping": "soon"}"#).is_err());
}

#[test]
fn lengths_count_each_rows_own_prompt() {
    let prompts = [vec![1, 2, 3], vec![4]];
    let lengths = |kwargs: &str| -> Vec<usize> {
        let results = generate(kwargs, &prompts).unwrap();
        results.iter().map(|row| row[0].tokens.len()).collect()
    };
    assert_eq!(lengths("{}"), [20, 20]);
    assert_eq!(lengths(r#"{"max_length": 9}"#), [6, 8]);
    assert_eq!(lengths(r#"{"max_length": 9, "num_beams": 3}"#), [6, 8]);
    assert_eq!(lengths(r#"{"max_length": 9, "max_new_tokens": 4}"#), [4, 4]);

    let all: Vec<u32> = (0..30).collect();
    let with_ends = |kwargs: &str| {
        let ends = serde_json::to_string(&all).unwrap();
        lengths(&format!(r#"{{"eos_token_id": {ends}{kwargs}}}"#))
    };
    assert_eq!(with_ends(""), [1, 1]);

    let error = generate(r#"{"max_length": 3}"#, &prompts).unwrap_err();
    assert!(error.to_string().contains("`max_length` = 3"), "{error}");
}

#[test]
fn minimum_lengths_hold_the_end_token_back() {
    // Token 0 is always the likeliest, token 1 next.
    let run = |kwargs: &str, prompts: &[Vec<u32>]| -> Vec<Vec<u32>> {
        let mut session = FnSession::new(3, prompts, |_: &[u32]| vec![2.0, 1.0, 0.0]);
        let results = Generator::new(config(kwargs))
            .unwrap()
            .generate(&mut session, prompts)
            .unwrap();
        results
            .into_iter()
            .map(|row| row[0].tokens.clone())
            .collect()
    };
    let prompts = [vec![2, 2], vec![2]];
    assert_eq!(run(r#"{"eos_token_id": 0}"#, &prompts), [[0], [0]]);
    assert_eq!(
        run(r#"{"eos_token_id": 0, "min_new_tokens": 2}"#, &prompts),
        [[1, 1, 0], [1, 1, 0]]
    );
    assert_eq!(
        run(r#"{"eos_token_id": 0, "min_length": 3}"#, &prompts),
        [vec![1, 0], vec![1, 1, 0]]
    );
}

#[test]
fn a_full_context_ends_a_sequence_one_token_later() {
    for beams in [1, 2] {
        let tables = Tables::random(30, 2.0, 1);
        let prompts = [vec![1, 2]];
        let mut session = table_session(&tables, &prompts);
        session.remaining = Some(3);
        let config = GenerationConfig::default().with_num_beams(beams);
        let results = Generator::new(config)
            .unwrap()
            .generate(&mut session, &prompts)
            .unwrap();
        assert_eq!(results[0][0].tokens.len(), 4);
        assert_eq!(results[0][0].finish_reason, FinishReason::ContextFull);
        assert_eq!(session.batches.len(), 4);
        assert!(session.rows.iter().all(|row| row.len() == 2 + 3));
    }
}

#[test]
fn log_probabilities_are_the_models_own() {
    let kwargs = r#"{"max_new_tokens": 6, "repetition_penalty": 2.0, "bad_words_ids": [[4], [5]]}"#;
    let tables = Tables::random(30, 2.0, 1);
    let prompt = vec![1, 2];
    for beams in [1, 4] {
        let config = config(kwargs).with_num_beams(beams);
        let prompts = [prompt.clone()];
        let results = Generator::new(config)
            .unwrap()
            .generate(&mut table_session(&tables, &prompts), &prompts)
            .unwrap();
        let mut ids = prompt.clone();
        for (&token, &logprob) in results[0][0].tokens.iter().zip(&results[0][0].logprobs) {
            let logits = tables.logits(&ids);
            let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
            let expected = f64::from(logits[token as usize]) - sum.ln();
            assert!((f64::from(logprob) - expected).abs() < 1e-6);
            ids.push(token);
        }
    }
}

#[test]
fn prompts_must_match_the_session() {
    let tables = Tables::random(30, 2.0, 1);
    let generator = Generator::new(GenerationConfig::default()).unwrap();
    let mut session = table_session(&tables, &[vec![1], vec![2]]);
    let error = generator.generate(&mut session, &[vec![1]]).unwrap_err();
    assert!(matches!(
        error,
        GenerateError::PromptCount {
            given: 1,
            expected: 2
        }
    ));
    let mut none = table_session(&tables, &[]);
    assert!(generator.generate(&mut none, &[]).unwrap().is_empty());
    // An empty prompt is no error: the engine only counts its ids.
    assert_eq!(generate("{}", &[vec![]]).unwrap()[0][0].tokens.len(), 20);
}

#[test]
fn logits_that_are_no_distribution_are_refused() {
    for (bad, shown) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf only"),
    ] {
        for kwargs in ["{}", r#"{"num_beams": 2}"#, r#"{"do_sample": true}"#] {
            let prompts = [vec![1], vec![2]];
            let mut session = FnSession::new(4, &prompts, |ids: &[u32]| {
                let spoilt = ids[0] == 2 && ids.len() == 3;
                let others = if bad == f32::NEG_INFINITY { bad } else { 0.0 };
                if spoilt {
                    vec![bad, others, others, others]
                } else {
                    vec![0.0, 1.0, 2.0, 3.0]
                }
            });
            let generator = Generator::new(config(kwargs)).unwrap();
            let error = generator.generate(&mut session, &prompts).unwrap_err();
            assert!(matches!(
                error,
                GenerateError::BadLogits {
                    row: 1,
                    step: 2,
                    ..
                }
            ));
            assert!(error.to_string().contains(shown), "{error}");
        }
    }
    assert!(matches!(
        Logits::new(vec![0.0; 5], 2),
        Err(GenerateError::LogitsShape {
            values: 5,
            vocab: 2
        })
    ));
    assert!(Logits::new(vec![], 0).is_err());
}

#[test]
fn rules_that_forbid_everything_are_an_error() {
    for beams in [1, 3] {
        let all: Vec<Vec<u32>> = (0..30).map(|token| vec![token]).collect();
        let config = GenerationConfig::default()
            .with_num_beams(beams)
            .with_bad_words_ids(all);
        let tables = Tables::random(30, 2.0, 1);
        let prompts = [vec![1]];
        let run = |generator: Generator<'_>| {
            generator
                .generate(&mut table_session(&tables, &prompts), &prompts)
                .unwrap_err()
        };
        let error = run(Generator::new(config).unwrap());
        assert!(matches!(
            error,
            GenerateError::NoAllowedToken { row: 0, step: 0 }
        ));
        let free = GenerationConfig::default().with_num_beams(beams);
        let free = Generator::new(free).unwrap();
        let error = run(free.clone().constraint(Always(vec![])));
        assert!(matches!(
            error,
            GenerateError::NoAllowedToken { row: 0, step: 0 }
        ));
        let error = run(free.clone().constraint(Always(vec![3, 30])));
        assert!(matches!(
            error,
            GenerateError::ConstraintToken {
                token: 30,
                vocab: 30
            }
        ));
        let error = run(free.constraint(Spoiler));
        assert!(matches!(
            error,
            GenerateError::BadScores {
                row: 0,
                step: 0,
                ..
            }
        ));
    }
}

struct Spoiler;

impl TokenConstraint for Spoiler {
    fn next_tokens(&self, _at: Position<'_>, scores: &mut [f32]) -> NextTokens {
        scores[3] = f32::NAN;
        NextTokens::Any
    }
}

/// Lets only the ids of a known list of answers through, then the end token 0.
struct Answers(Vec<Vec<u32>>);

impl TokenConstraint for Answers {
    fn next_tokens(&self, at: Position<'_>, scores: &mut [f32]) -> NextTokens {
        assert_eq!(scores.len(), 30);
        assert_eq!(at.ids(), [at.prompt(), at.generated()].concat());
        let done = at.generated();
        let next = self.0.iter().filter(|answer| answer.starts_with(done));
        NextTokens::Only(
            next.map(|answer| answer.get(done.len()).copied().unwrap_or(0))
                .collect(),
        )
    }
}

#[test]
fn a_constraint_holds_in_every_mode_and_beams_find_every_answer() {
    let answers = vec![vec![3, 4], vec![3, 5, 6], vec![7]];
    let ended = |answer: &[u32]| [answer, &[0]].concat();
    let tables = Tables::random(30, 2.0, 1);
    let prompts = [vec![1, 2], vec![9]];
    for kwargs in [
        r#"{"eos_token_id": 0}"#,
        r#"{"eos_token_id": 0, "do_sample": true, "num_return_sequences": 5}"#,
        r#"{"eos_token_id": 0, "num_beams": 5, "num_return_sequences": 5}"#,
        r#"{"eos_token_id": 0, "num_beams": 5, "num_return_sequences": 5, "do_sample": true}"#,
    ] {
        let config = config(kwargs);
        let results = Generator::new(config.clone())
            .unwrap()
            .constraint(Answers(answers.clone()))
            .generate(&mut table_session(&tables, &prompts), &prompts)
            .unwrap();
        for row in results {
            let mut tokens: Vec<Vec<u32>> = row.iter().map(|g| g.tokens.clone()).collect();
            assert!(row.iter().all(|g| g.finish_reason == FinishReason::Eos));
            assert!(
                tokens
                    .iter()
                    .all(|t| answers.iter().any(|a| ended(a) == *t))
            );
            if config.num_beams > 1 {
                assert!(row.is_sorted_by(|a, b| a.score >= b.score));
                // There are three answers, so five cannot be returned.
                tokens.sort();
                let mut all: Vec<Vec<u32>> = answers.iter().map(|a| ended(a)).collect();
                all.sort();
                assert_eq!(tokens, all);
            }
        }
    }
}

#[test]
fn stop_strings_need_a_token_decoder_that_works() {
    let kwargs = r#"{"stop_strings": ["a"]}"#;
    let error = generate(kwargs, &[vec![1]]).unwrap_err();
    assert!(matches!(
        error,
        GenerateError::NoTokenDecoder {
            need: "`stop_strings`"
        }
    ));

    struct Broken;
    impl TokenDecoder for Broken {
        fn decode(&self, ids: &[u32]) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
            Err(format!("no text for {ids:?}").into())
        }
    }
    let tables = Tables::random(30, 2.0, 1);
    let error = Generator::new(config(kwargs))
        .unwrap()
        .token_decoder(Broken)
        .generate(&mut table_session(&tables, &[vec![1]]), &[vec![1]])
        .unwrap_err();
    assert!(error.to_string().contains("no text for"), "{error}");
}

#[derive(Debug)]
struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl std::error::Error for OutOfMemory {}

/// Fails in step number `fails_at`, or returns rows of `returns` logits.
struct Faulty {
    fails_at: usize,
    returns: usize,
    steps: usize,
}

impl Faulty {
    fn answer(&mut self, rows: usize) -> Result<Logits, OutOfMemory> {
        self.steps += 1;
        if self.steps > self.fails_at {
            return Err(OutOfMemory);
        }
        Ok(Logits::new(vec![0.0; rows * self.returns], self.returns).unwrap())
    }
}

impl DecodeSession for Faulty {
    type Error = OutOfMemory;

    fn vocab_size(&self) -> usize {
        4
    }

    fn rows(&self) -> usize {
        1
    }

    fn prefill(&mut self) -> Result<Logits, OutOfMemory> {
        self.answer(1)
    }

    fn step(&mut self, parents: &[usize], _tokens: &[u32]) -> Result<Logits, OutOfMemory> {
        self.answer(parents.len())
    }
}

#[test]
fn the_models_errors_come_through() {
    for kwargs in ["{}", r#"{"num_beams": 2}"#] {
        let generator = Generator::new(config(kwargs)).unwrap();
        for fails_at in [0, 1, 3] {
            let mut session = Faulty {
                fails_at,
                returns: 4,
                steps: 0,
            };
            let error = generator.generate(&mut session, &[vec![1]]).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the language model failed: out of memory"
            );
            let source = std::error::Error::source(&error).unwrap();
            assert!(source.downcast_ref::<OutOfMemory>().is_some());
        }
        let mut session = Faulty {
            fails_at: 9,
            returns: 5,
            steps: 0,
        };
        let error = generator.generate(&mut session, &[vec![1]]).unwrap_err();
        assert!(error.to_string().contains("[1, 5] where [1, 4]"), "{error}");
    }
}
