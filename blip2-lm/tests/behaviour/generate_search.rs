//! Greedy and beam search against `transformers`: `fixtures/lm/make_generate_goldens.py`.

use blip2_lm::generate::{Generated, GenerationConfig, Generator};
use blip2_testing::json;
use serde_json::Value;

use crate::generate_support::{Always, Indivisible, Tables, table_session};

struct Golden {
    tables: Tables,
    prompts: Vec<Vec<u32>>,
    cases: Vec<Value>,
}

fn goldens() -> Vec<Golden> {
    let models = json("lm/generate_search.json")["models"].take();
    models
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            let parse = |key: &str| model[key].clone();
            Golden {
                tables: Tables {
                    vocab: serde_json::from_value(parse("vocab")).unwrap(),
                    tables: serde_json::from_value(parse("tables")).unwrap(),
                },
                prompts: serde_json::from_value(parse("prompts")).unwrap(),
                cases: model["cases"].as_array().unwrap().clone(),
            }
        })
        .collect()
}

fn decode(golden: &Golden, case: &Value, prompts: &[Vec<u32>]) -> Vec<Vec<Generated>> {
    let config: GenerationConfig = serde_json::from_value(case["kwargs"].clone()).unwrap();
    let mut generator = Generator::new(config).unwrap();
    match &case["constraint"] {
        Value::Null => {}
        list @ Value::Array(_) => {
            generator = generator.constraint(Always(serde_json::from_value(list.clone()).unwrap()));
        }
        modulus => {
            generator = generator.constraint(Indivisible {
                vocab: golden.tables.vocab,
                modulus: serde_json::from_value(modulus.clone()).unwrap(),
            });
        }
    }
    generator
        .generate(&mut table_session(&golden.tables, prompts), prompts)
        .unwrap()
}

#[test]
fn every_case_equals_transformers() {
    let mut compared = 0;
    let mut worst = 0f64;
    for golden in goldens() {
        for case in &golden.cases {
            let results = decode(&golden, case, &golden.prompts);
            let tokens: Vec<Vec<Vec<u32>>> =
                serde_json::from_value(case["tokens"].clone()).unwrap();
            let ours: Vec<Vec<Vec<u32>>> = results
                .iter()
                .map(|row| row.iter().map(|g| g.tokens.clone()).collect())
                .collect();
            assert_eq!(ours, tokens, "vocabulary {}: {case}", golden.tables.vocab);
            if let Some(scores) = case["scores"].as_array() {
                for (row, scores) in results.iter().zip(scores) {
                    for (result, score) in row.iter().zip(scores.as_array().unwrap()) {
                        let score = score.as_f64().unwrap();
                        let ours = f64::from(result.score.unwrap());
                        worst = worst.max((ours - score).abs() / score.abs().max(1.0));
                    }
                }
            }
            compared += 1;
        }
    }
    println!("{compared} cases, largest score difference {worst:.1e} (relative above 1)");
    assert_eq!(compared, 332);
    assert!(worst < 1e-5, "{worst}");
}

#[test]
fn a_row_alone_is_the_row_in_its_batch() {
    for golden in goldens() {
        for case in &golden.cases {
            let batch = decode(&golden, case, &golden.prompts);
            for (prompt, expected) in golden.prompts.iter().zip(&batch) {
                let alone = decode(&golden, case, std::slice::from_ref(prompt));
                assert_eq!(&alone[0], expected, "{case}");
            }
        }
    }
}

/// Without anything that changes the scores, a beam's score is the sum of the reported
/// log-probabilities over its length to the power of the length penalty.
#[test]
fn scores_follow_from_log_probabilities() {
    let golden = &goldens()[0];
    let mut checked = 0;
    for case in &golden.cases {
        let kwargs = case["kwargs"].as_object().unwrap();
        let changes = [
            "repetition_penalty",
            "no_repeat_ngram_size",
            "bad_words_ids",
        ];
        if case["scores"].is_null() || changes.iter().any(|key| kwargs.contains_key(*key)) {
            continue;
        }
        let penalty = kwargs
            .get("length_penalty")
            .map_or(1.0, |p| p.as_f64().unwrap());
        for result in decode(golden, case, &golden.prompts).iter().flatten() {
            let sum: f64 = result.logprobs.iter().map(|&lp| f64::from(lp)).sum();
            let expected = sum / (result.tokens.len() as f64).powf(penalty);
            let score = f64::from(result.score.unwrap());
            assert!((score - expected).abs() < 1e-5 * expected.abs().max(1.0));
            checked += 1;
        }
    }
    assert!(checked > 100);
}

#[test]
fn finished_rows_and_beams_leave_the_batch() {
    let golden = &goldens()[0];
    for (kwargs, widest) in [
        (
            r#"{"max_new_tokens": 12, "num_beams": 3, "num_return_sequences": 3, "early_stopping": true}"#,
            9,
        ),
        (r#"{"max_new_tokens": 12}"#, 3),
    ] {
        let config: GenerationConfig = serde_json::from_str(kwargs).unwrap();
        let mut free = Generator::new(config.clone())
            .unwrap()
            .generate(
                &mut table_session(&golden.tables, &golden.prompts),
                &golden.prompts,
            )
            .unwrap();
        // End tokens that only the second row meets, and not at once.
        let second = free.remove(1);
        let others: Vec<u32> = free.into_iter().flatten().flat_map(|g| g.tokens).collect();
        let second = second.iter().flat_map(|g| &g.tokens[2..6]).copied();
        let config = config.with_eos_token_id(
            second
                .filter(|token| !others.contains(token))
                .collect::<Vec<_>>(),
        );
        let mut session = table_session(&golden.tables, &golden.prompts);
        let results = Generator::new(config)
            .unwrap()
            .generate(&mut session, &golden.prompts)
            .unwrap();
        assert_eq!(session.batches[0], 3);
        assert_eq!(session.batches.iter().max(), Some(&widest));
        assert!(
            session.batches.last() < Some(&widest),
            "{:?}",
            session.batches
        );
        assert_eq!(results.len(), 3);
        // The last token is never fed.
        assert_eq!(session.batches.len(), 12);
    }
}
