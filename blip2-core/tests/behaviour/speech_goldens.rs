//! Granite Speech against `transformers`: every stage from mel features to logits, steps with a cache,
//! every generation case, with an adapter and without.

use blip2_core::{
    GenerationConfig, Options,
    generate::{DecodeSession, Generated, Generator},
    model::{Keep, LanguageModel, PromptRows},
    speech::{SoundFeatures, SpeechPipeline},
};
use blip2_testing::{Golden, Goldens, assert_close, fixture, floats, json};
use burn::tensor::Tensor;
use serde_json::Value;

const FIXTURES: [&str; 3] = [
    "granite_speech",
    "granite_speech_untied",
    "granite_speech_lora",
];

/// A checkpoint and what the reference makes of it.
struct Fixture {
    name: &'static str,
    speech: SpeechPipeline,
    goldens: Goldens,
    json: Value,
    worst: f32,
}

impl Fixture {
    fn open(name: &'static str) -> Self {
        let folder = fixture(name);
        Self {
            name,
            speech: SpeechPipeline::from_pretrained(&folder).unwrap(),
            goldens: Goldens::open(folder.join("golden.safetensors")),
            json: json(&format!("{name}/golden.json")),
            worst: 0.0,
        }
    }

    fn every() -> impl Iterator<Item = Self> {
        FIXTURES.into_iter().map(Self::open)
    }

    fn golden<const D: usize>(&self, key: &str) -> Tensor<D> {
        self.goldens.get(key).tensor(self.speech.device())
    }

    /// Fails where a stage is further from the reference than it may be. Rows of which `counts` is not
    /// true are left out.
    fn check<const D: usize>(&mut self, stage: &str, found: Tensor<D>, counts: Option<&[bool]>) {
        let golden = self.goldens.get(stage);
        assert_eq!(found.dims().to_vec(), golden.shape, "{} {stage}", self.name);
        let width = golden.shape[D - 1];
        let found = floats(found);
        let rows = found
            .chunks_exact(width)
            .zip(golden.values.chunks_exact(width));
        let rows = rows
            .enumerate()
            .filter(|(row, _)| counts.is_none_or(|counts| counts[*row]));
        let (mut difference, mut largest) = (0f32, 0f32);
        for (_, (found, expected)) in rows {
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.is_finite(), "{} {stage}", self.name);
                difference = difference.max((found - expected).abs());
                largest = largest.max(expected.abs());
            }
        }
        let allowed = 1e-4 * (largest / 10.0).max(1.0);
        assert!(
            difference <= allowed,
            "{} {stage}: {difference} where {allowed} is allowed",
            self.name
        );
        self.worst = self.worst.max(difference / largest);
    }

    /// What the language model is given of the sounds of the batch, as the reference masks them, or of the
    /// single one.
    fn sounds(&self, set: &str) -> Vec<SoundFeatures> {
        let model = self.speech.model();
        let (features, sizes) = match set {
            "gen" => ("input_features", &self.json["inputs"]["audio_embed_sizes"]),
            _ => ("single.input_features", &Value::Null),
        };
        let frames = model.encode(self.golden(features)).unwrap();
        let vectors = model.projector().forward(frames).unwrap();
        let [sounds, most, _] = vectors.dims();
        let size = |n: usize| sizes[n].as_u64().map_or(most, |size| size as usize);
        (0..sounds)
            .map(|n| vectors.clone().narrow(0, n, 1).narrow(1, 0, size(n)))
            .map(SoundFeatures::new)
            .collect()
    }

    fn rows(&self, set: &str) -> PromptRows {
        if set == "gen" {
            let ids = self.goldens.get("input_ids").rows(|value| value as u32);
            let mask = self.goldens.get("attention_mask");
            return PromptRows::new(ids, mask.rows(|value| value != 0.0)).unwrap();
        }
        let ids: Vec<Vec<u32>> =
            serde_json::from_value(self.json["input_ids_single"].clone()).unwrap();
        let mask = ids.iter().map(|row| vec![true; row.len()]).collect();
        PromptRows::new(ids, mask).unwrap()
    }
}

#[test]
fn stages_equal_transformers() {
    for mut fixture in Fixture::every() {
        let speech = fixture.speech.clone();
        let model = speech.model();
        let frames = model.encode(fixture.golden("input_features")).unwrap();
        fixture.check("encoder.last_hidden_state", frames.clone(), None);
        let gathered = model.projector().gather(frames.clone()).unwrap();
        fixture.check("qformer.last_hidden_state", gathered, None);
        let projected = model.projector().forward(frames).unwrap();
        fixture.check("projector", projected, None);

        let rows = fixture.rows("gen");
        let counts = rows.mask().concat();
        let sounds = fixture.sounds("gen");
        let (embeds, mask) = model.inputs_embeds(&sounds, &rows).unwrap();
        let LanguageModel::Decoder(decoder) = model.language_model() else {
            panic!("Granite is a decoder")
        };
        let output = decoder
            .forward_without_position_ids(embeds, &mask, Keep::HIDDEN_STATES)
            .unwrap();
        for (n, hidden) in output.hidden_states.into_iter().enumerate() {
            fixture.check(&format!("lm.hidden.{n}"), hidden, Some(&counts));
        }
        let logits = floats(output.logits.clone());
        fixture.check("logits", output.logits, Some(&counts));
        let (loss, golden) = (
            loss(&fixture, &logits),
            fixture.goldens.get("loss").values[0],
        );
        assert!((loss - f64::from(golden)).abs() < 1e-5, "{loss} {golden}");
        eprintln!(
            "{}: within {:.1e} of the largest",
            fixture.name, fixture.worst
        );
    }
}

/// The mean loss of every label that the mask lets count, from the logits one place before it.
fn loss(fixture: &Fixture, logits: &[f32]) -> f64 {
    let Golden { shape, values } = fixture.goldens.get("labels");
    let mask = &fixture.goldens.get("attention_mask").values;
    let vocab = logits.len() / values.len();
    let (mut sum, mut count) = (0f64, 0);
    for place in 0..values.len() {
        if place % shape[1] == 0 || mask[place] == 0.0 || values[place] < 0.0 {
            continue;
        }
        let row = &logits[(place - 1) * vocab..place * vocab];
        let exp: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        sum += exp.ln() - f64::from(row[values[place] as usize]);
        count += 1;
    }
    sum / f64::from(count)
}

#[test]
fn steps_with_a_cache_equal_transformers() {
    for fixture in Fixture::every() {
        let model = fixture.speech.model();
        for set in ["gen", "gen_single"] {
            let rows = fixture.rows(set);
            let golden = fixture.goldens.get(&format!("{set}.greedy.logits"));
            let [count, steps, vocab] = golden.shape[..] else {
                panic!("{:?}", golden.shape)
            };
            let sequences = &fixture.json[set]["greedy"]["sequences"];
            let greedy: Vec<Vec<u32>> = serde_json::from_value(sequences.clone()).unwrap();
            let history = rows.ids()[0].len();
            let mut session = model.start(&fixture.sounds(set), &rows, steps).unwrap();
            let parents: Vec<usize> = (0..count).collect();
            let largest = golden.values.iter().fold(0f32, |m, x| m.max(x.abs()));
            for step in 0..steps {
                let logits = match step {
                    0 => session.prefill().unwrap(),
                    _ => {
                        let token = |row: &Vec<u32>| row[history + step - 1];
                        let tokens: Vec<u32> = greedy.iter().map(token).collect();
                        session.step(&parents, &tokens).unwrap()
                    }
                };
                for row in 0..count {
                    let start = (row * steps + step) * vocab;
                    assert_close(
                        &format!("{} {set} step {step} row {row}", fixture.name),
                        logits.row(row),
                        &golden.values[start..start + vocab],
                        1e-4 * (largest / 10.0).max(1.0),
                    );
                }
            }
        }
    }
}

#[test]
fn every_generation_equals_transformers() {
    let (mut compared, mut ties, mut worst) = (0, 0, 0f64);
    for fixture in Fixture::every() {
        for set in ["gen", "gen_single"] {
            let (rows, sounds) = (fixture.rows(set), fixture.sounds(set));
            for (case, golden) in fixture.json[set].as_object().unwrap() {
                if !golden.is_object() {
                    continue; // a note on how the cases were made
                }
                if golden["f64_agrees"] == false {
                    ties += 1;
                    continue;
                }
                let what = format!("{} {set} {case}", fixture.name);
                let results = generate(&fixture, &sounds, &rows, golden);
                worst = worst.max(compare(&what, &fixture, &rows, &results, golden));
                compared += 1;
            }
        }
    }
    eprintln!("{compared} cases, {ties} near ties left out, scores within {worst:.1e}");
    assert!(compared > 150, "{compared}");
}

fn generate(
    fixture: &Fixture,
    sounds: &[SoundFeatures],
    rows: &PromptRows,
    golden: &Value,
) -> Vec<Vec<Generated>> {
    let mut config: GenerationConfig = serde_json::from_value(golden["kwargs"].clone()).unwrap();
    if config.eos_token_id.is_empty() {
        config.eos_token_id = fixture.speech.config().text_config.eos_token_ids().to_vec();
    }
    let new_tokens = config.new_tokens_after(rows.ids()[0].len()).unwrap();
    let model = fixture.speech.model();
    let mut session = model.start(sounds, rows, new_tokens).unwrap();
    let generator = Generator::new(config).unwrap();
    generator.generate(&mut session, rows.ids()).unwrap()
}

/// Tokens must be equal, and scores near. Returns the largest difference of the scores.
fn compare(
    what: &str,
    fixture: &Fixture,
    rows: &PromptRows,
    results: &[Vec<Generated>],
    golden: &Value,
) -> f64 {
    let sequences: Vec<Vec<u32>> = serde_json::from_value(golden["sequences"].clone()).unwrap();
    let scores: Option<Vec<f64>> =
        serde_json::from_value(golden["sequences_scores"].clone()).unwrap();
    let pad = fixture.speech.config().text_config.pad_token_id().unwrap();
    let found: Vec<(&Vec<u32>, &Generated)> = rows
        .ids()
        .iter()
        .zip(results)
        .flat_map(|(history, row)| row.iter().map(move |result| (history, result)))
        .collect();
    assert_eq!(found.len(), sequences.len(), "{what}");
    let mut worst = 0f64;
    for (n, ((history, result), expected)) in found.iter().zip(&sequences).enumerate() {
        let mut ids = [history.as_slice(), &result.tokens].concat();
        // Finished rows are padded to the longest.
        ids.resize(ids.len().max(expected.len()), pad);
        assert_eq!(&ids, expected, "{what}, sequence {n}");
        if let Some(scores) = &scores {
            let difference = (f64::from(result.score.unwrap()) - scores[n]).abs();
            let allowed = (1e-4 * scores[n].abs()).max(1e-3);
            assert!(difference < allowed, "{what}, sequence {n}: {difference}");
            worst = worst.max(difference);
        }
    }
    worst
}

/// Without sound the language model writes without the adapter that is beside the checkpoint.
#[test]
fn text_alone_equals_transformers() {
    for fixture in Fixture::every() {
        let golden = &fixture.json["gen_text_only"];
        let config: GenerationConfig = serde_json::from_value(golden["kwargs"].clone()).unwrap();
        let options = Options::default().with_generation(config);
        let written = fixture
            .speech
            .continue_text_with("a photo of two", &options)
            .unwrap();
        let prompt: Vec<Vec<u32>> = serde_json::from_value(golden["input_ids"].clone()).unwrap();
        let expected: Vec<Vec<u32>> = serde_json::from_value(golden["sequences"].clone()).unwrap();
        let whole = [prompt[0].as_slice(), &written.token_ids()].concat();
        assert_eq!(whole, expected[0], "{}", fixture.name);
    }
}

/// The adapter changes what the language model writes of the same sound, and is off where it is asked
/// to be.
#[test]
fn the_adapter_is_on_where_there_is_sound() {
    let fixture = Fixture::open("granite_speech_lora");
    let (rows, sounds) = (fixture.rows("gen"), fixture.sounds("gen"));
    let first = |speech: &SpeechPipeline| {
        let mut session = speech.model().start(&sounds, &rows, 1).unwrap();
        session.prefill().unwrap().row(0).to_vec()
    };
    let (with, without) = (
        first(&fixture.speech),
        first(&fixture.speech.without_adapter()),
    );
    let differences = with.iter().zip(&without).map(|(a, b)| (a - b).abs());
    assert!(differences.fold(0.0, f32::max) > 1e-2);
    assert_eq!(fixture.speech.active_adapter(), Some("default"));
    assert_eq!(fixture.speech.without_adapter().active_adapter(), None);
}
