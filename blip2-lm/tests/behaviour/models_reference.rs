//! The language models of whole BLIP-2 checkpoints against `transformers`: prompts with pictures
//! in them, hidden states, logits, steps with a cache, every generation case.

use blip2_lm::{DecodeSession, Generated, GenerationConfig, Generator, Keep, LanguageModel};
use blip2_testing::{Golden, assert_close, floats};
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;

use crate::models_support::{Fixture, share};

const FIXTURES: [&str; 4] = [
    "blip2_opt",
    "blip2_t5",
    "blip2_t5_tied",
    "blip2_t5_relu_tied",
];

/// Embedded prompts whose placeholders are taken by the projected queries of each row's picture.
fn place(fixture: &Fixture, model: &LanguageModel, ids: &[Vec<u32>]) -> Tensor<3> {
    let image_token = fixture.json()["image_token"].as_u64().unwrap() as u32;
    let projection = fixture.golden("language_projection");
    let [queries, width] = projection.shape[1..] else {
        panic!("{:?}", projection.shape)
    };
    let mut embeds = floats(model.embed(ids).unwrap());
    let mut places = embeds.chunks_exact_mut(width);
    for (row, ids) in ids.iter().enumerate() {
        let picture = &projection.values[row * queries * width..];
        let mut features = picture.chunks_exact(width).take(queries);
        for (&id, place) in ids.iter().zip(&mut places) {
            if id == image_token {
                place.copy_from_slice(features.next().unwrap());
            }
        }
        assert!(features.next().is_none());
    }
    let shape = [ids.len(), ids[0].len(), width];
    Tensor::from_data(TensorData::new(embeds, shape), &fixture.device)
}

fn tolerance(fixture: &Fixture) -> f32 {
    let floor = fixture.json()["logits_max_abs_err_vs_f64"]
        .as_f64()
        .unwrap() as f32;
    (4.0 * floor).max(1e-4)
}

struct Stages<'a> {
    name: &'a str,
    tolerance: f32,
    worst: f32,
}

impl Stages<'_> {
    fn check<const D: usize>(&mut self, stage: &str, found: Tensor<D>, golden: &Golden) {
        let share = share(found, golden, self.tolerance, None);
        assert!(
            share <= 1.0,
            "{} {stage}: {share} of the tolerance",
            self.name
        );
        self.worst = self.worst.max(share);
    }

    fn series(&mut self, stage: &str, found: Vec<Tensor<3>>, goldens: &[&Golden]) {
        assert_eq!(found.len(), goldens.len(), "{} {stage}", self.name);
        for (n, (found, golden)) in found.into_iter().zip(goldens).enumerate() {
            self.check(&format!("{stage}.{n}"), found, golden);
        }
    }
}

#[test]
fn stages_equal_transformers() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let model = fixture.model();
        let mut stages = Stages {
            name,
            tolerance: tolerance(&fixture),
            worst: 0.0,
        };
        let mask = fixture.mask();
        let embeds = place(&fixture, &model, &fixture.ids("input_ids"));
        let golden = fixture.golden("lm.inputs_embeds");
        assert_eq!(floats(embeds.clone()), golden.values, "{name}");
        match &model {
            LanguageModel::Decoder(model) => {
                let output = model.forward(embeds, &mask, Keep::ALL).unwrap();
                let goldens = fixture.series("lm.hidden");
                stages.series("lm.hidden", output.hidden_states, &goldens);
                stages.check("logits", output.logits, fixture.golden("logits"));
            }
            LanguageModel::T5(model) => {
                let encoded = model.encode(embeds, &mask, Keep::ALL).unwrap();
                let goldens = fixture.series("lm.encoder_hidden");
                stages.series("lm.encoder_hidden", encoded.hidden_states.clone(), &goldens);
                let golden = fixture.golden("lm.encoder_last_hidden_state");
                stages.check("encoder", encoded.last_hidden_state.clone(), golden);
                let logits = model.decode(&encoded, &fixture.ids("decoder_input_ids"));
                let golden = fixture.golden("logits_decoder_input_ids");
                stages.check("logits_decoder_input_ids", logits.unwrap(), golden);
                let logits = model.decode(&encoded, &shifted(&fixture)).unwrap();
                stages.check("logits", logits, fixture.golden("logits"));
            }
            _ => unreachable!(),
        }
        eprintln!("{name}: {:.3} of the tolerance at worst", stages.worst);
    }
}

/// The decoder's input for labels: the start token first, and padding where there is no label.
fn shifted(fixture: &Fixture) -> Vec<Vec<u32>> {
    let pad = fixture.config.pad_token_id().unwrap();
    let start = fixture.config.decoder_start_token_id().unwrap();
    let label = |value: f32| if value < 0.0 { pad } else { value as u32 };
    let mut rows = fixture.golden("labels").rows(label);
    for row in &mut rows {
        row.insert(0, start);
        row.pop();
    }
    rows
}

/// The prompts of `gen`, a batch with padding, and of `gen_single`.
fn prompts(fixture: &Fixture, set: &str) -> (Vec<Vec<u32>>, Vec<Vec<bool>>) {
    if set == "gen" {
        return (fixture.ids("input_ids"), fixture.mask());
    }
    let ids: Vec<Vec<u32>> =
        serde_json::from_value(fixture.json()["input_ids_single"].take()).unwrap();
    let mask = ids.iter().map(|row| vec![true; row.len()]).collect();
    (ids, mask)
}

#[test]
fn steps_with_a_cache_equal_transformers() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let (model, json) = (fixture.model(), fixture.json());
        for set in ["gen", "gen_single"] {
            let (ids, mask) = prompts(&fixture, set);
            let golden = fixture.golden(&format!("{set}.greedy.logits"));
            let [rows, steps, vocab] = golden.shape[..] else {
                panic!("{:?}", golden.shape)
            };
            let greedy: Vec<Vec<usize>> =
                serde_json::from_value(json[set]["greedy"]["sequences"].clone()).unwrap();
            let history = fixture.histories(&ids)[0].len();
            let embeds = place(&fixture, &model, &ids);
            let mut session = fixture.start(&model, embeds, &mask, steps);
            let parents: Vec<usize> = (0..rows).collect();
            let scale = golden
                .values
                .iter()
                .fold(10f32, |m, value| m.max(value.abs()))
                / 10.0;
            for step in 0..steps {
                let logits = if step == 0 {
                    session.prefill().unwrap()
                } else {
                    let token = |row: &Vec<usize>| row[history + step - 1] as u32;
                    let tokens: Vec<u32> = greedy.iter().map(token).collect();
                    session.step(&parents, &tokens).unwrap()
                };
                for row in 0..rows {
                    let start = (row * steps + step) * vocab;
                    assert_close(
                        &format!("{name} {set} step {step} row {row}"),
                        logits.row(row),
                        &golden.values[start..start + vocab],
                        tolerance(&fixture) * scale,
                    );
                }
            }
        }
    }
}

#[test]
fn every_generation_equals_transformers() {
    let (mut compared, mut worst) = (0, 0f64);
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let (model, json) = (fixture.model(), fixture.json());
        for set in ["gen", "gen_single"] {
            let (ids, mask) = prompts(&fixture, set);
            for (case, golden) in json[set].as_object().unwrap() {
                if golden["f64_agrees"] == false {
                    continue; // a near tie
                }
                let what = format!("{name} {set} {case}");
                let embeds = place(&fixture, &model, &ids);
                let results = generate(&fixture, &model, embeds, &ids, &mask, golden);
                let histories = fixture.histories(&ids);
                worst = worst.max(compare(&what, &fixture, &histories, &results, golden));
                compared += 1;
            }
        }
    }
    eprintln!("{compared} cases, scores within {worst:.1e}");
    assert!(compared > 100, "{compared}");
}

fn generate(
    fixture: &Fixture,
    model: &LanguageModel,
    embeds: Tensor<3>,
    ids: &[Vec<u32>],
    mask: &[Vec<bool>],
    golden: &Value,
) -> Vec<Vec<Generated>> {
    let mut config: GenerationConfig = serde_json::from_value(golden["kwargs"].clone()).unwrap();
    if config.eos_token_id.is_empty() {
        config.eos_token_id = fixture.config.eos_token_ids().to_vec();
    }
    let histories = fixture.histories(ids);
    let new_tokens = config.new_tokens_after(histories[0].len()).unwrap();
    let mut session = fixture.start(model, embeds, mask, new_tokens);
    let generator = Generator::new(config).unwrap();
    generator.generate(&mut session, &histories).unwrap()
}

/// Tokens must be equal, and scores those of the reference in single or in double precision: the
/// two are further apart than the tolerance where a score magnifies rounding. Returns the largest
/// difference of the scores.
fn compare(
    what: &str,
    fixture: &Fixture,
    histories: &[Vec<u32>],
    results: &[Vec<Generated>],
    golden: &Value,
) -> f64 {
    let sequences: Vec<Vec<u32>> = serde_json::from_value(golden["sequences"].clone()).unwrap();
    let scores: Option<Vec<f64>> =
        serde_json::from_value(golden["sequences_scores"].clone()).unwrap();
    let exact: Option<Vec<f64>> =
        serde_json::from_value(golden["sequences_scores_f64"].clone()).unwrap();
    let found: Vec<(&Vec<u32>, &Generated)> = histories
        .iter()
        .zip(results)
        .flat_map(|(history, row)| row.iter().map(move |result| (history, result)))
        .collect();
    assert_eq!(found.len(), sequences.len(), "{what}");
    let end = match golden["kwargs"]["eos_token_id"].as_u64() {
        Some(end) => end as u32,
        None => fixture.config.eos_token_ids()[0],
    };
    let mut worst = 0f64;
    for (n, ((history, result), expected)) in found.iter().zip(&sequences).enumerate() {
        let mut ids = [history.as_slice(), &result.tokens].concat();
        // Finished rows are padded to the longest; a beam search takes a padding id of 0 for none,
        // and the end token instead.
        let pad = match fixture.config.pad_token_id().unwrap() {
            0 if result.score.is_some() => end,
            pad => pad,
        };
        ids.resize(ids.len().max(expected.len()), pad);
        assert_eq!(&ids, expected, "{what}, sequence {n}");
        if let Some(scores) = &scores {
            let score = f64::from(result.score.unwrap());
            let exact = exact.as_ref().map_or(scores[n], |exact| exact[n]);
            let difference = (score - scores[n]).abs().min((score - exact).abs());
            assert!(
                difference < 1e-3,
                "{what}, sequence {n}: off by {difference}"
            );
            worst = worst.max(difference);
        }
    }
    worst
}
