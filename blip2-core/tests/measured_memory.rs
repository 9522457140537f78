//! Predictions against what the system says a process held. Each case runs in a process of its
//! own, because a peak never falls.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::{fs, process::Command};

use blip2_core::{
    Blip2Pipeline, BlipAnswerer, CheckpointFolder, Device, GenerationConfig, ModelKind, Options,
    Precision, Preset, TextConfig,
    memory::{MemoryPlan, Workload, machine},
    model::BlipForQuestionAnswering,
};
#[cfg(feature = "speech")]
use blip2_core::{SpeechPipeline, sound::Waveform};
use blip2_kernels::{RandomWeights, Weights};
use blip2_testing::copy;
use serde_json::{Value, json};

const CASE: &str = "BLIP2_MEMORY_CASE";
/// Of a recording: 15 minutes, whose attention map would be a third of a gigabyte.
#[cfg(feature = "speech")]
const SECONDS: usize = 900;

/// Two layers of each stack of a published model, of which an output head alone may be half a gigabyte.
struct Case {
    of: Of,
    precision: Precision,
    work: Workload,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Preset(Preset),
    /// BLIP-1 that answers.
    Blip1,
    /// A small Granite Speech, of which a long recording is what is large.
    #[cfg(feature = "speech")]
    Speech,
}

impl Of {
    /// By how much of what was measured a prediction may be too high.
    fn most_over(self) -> f64 {
        match self {
            // It is of the published 80 mels and of a recording that is resampled; this one has 16, and is at
            // the model's own rate.
            #[cfg(feature = "speech")]
            Self::Speech => 1.0,
            _ => 0.1,
        }
    }
}

fn cases() -> Vec<Case> {
    let work = |batch, prompt_tokens, new_tokens, beams| {
        Workload::default()
            .with_batch(batch)
            .with_prompt_tokens(prompt_tokens)
            .with_new_tokens(new_tokens)
            .with_beams(beams)
    };
    let opt = Of::Preset(Preset::Blip2Opt2_7b);
    let t5 = Of::Preset(Preset::Blip2FlanT5Xl);
    vec![
        (opt, Precision::Bf16, work(1, 40, 4, 1)),
        (opt, Precision::F32, work(8, 40, 2, 1)),
        (opt, Precision::Int8, work(8, 40, 12, 5)),
        (t5, Precision::Bf16, work(2, 600, 3, 1)),
        (Of::Blip1, Precision::F32, work(8, 40, 4, 1)),
        (Of::Blip1, Precision::Int8, work(16, 40, 8, 4)),
        #[cfg(feature = "speech")]
        (
            Of::Speech,
            Precision::F32,
            work(1, 20, 2, 1).with_sound_frames(50 * SECONDS),
        ),
    ]
    .into_iter()
    .map(|(of, precision, work)| Case {
        of,
        precision,
        work,
    })
    .collect()
}

#[test]
fn peaks_are_within_a_tenth_of_their_predictions() {
    for (n, case) in cases().iter().enumerate() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "a_case", "--nocapture"])
            .env(CASE, n.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("bytes "));
        let line = line.unwrap_or_else(|| panic!("case {n}: {text}"));
        let bytes: Vec<f64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
        let [measured, predicted] = bytes[..] else {
            panic!("case {n}: {line}");
        };
        let off = predicted / measured - 1.0;
        assert!(
            (-0.1..case.of.most_over()).contains(&off),
            "{:?} {} {:?}: {measured} bytes, {predicted} predicted",
            case.of,
            case.precision,
            case.work
        );
    }
}

#[test]
#[ignore = "a part of the test above, in a process of its own"]
fn a_case() {
    let Ok(n) = std::env::var(CASE) else { return };
    let Case {
        of,
        precision,
        work,
    } = cases().swap_remove(n.parse().unwrap());
    let predicted = match of {
        Of::Preset(preset) => run(preset, precision, work),
        Of::Blip1 => run_blip1(precision, work),
        #[cfg(feature = "speech")]
        Of::Speech => run_speech(precision, work),
    };
    println!("\nbytes {} {predicted}", machine::peak_held().unwrap());
}

/// Runs a preset; returns what was predicted.
fn run(preset: Preset, precision: Precision, work: Workload) -> u64 {
    let mut config = preset.config();
    config.vision_config.num_hidden_layers = 2;
    config.qformer_config.num_hidden_layers = 2;
    match &mut config.text_config {
        TextConfig::Opt(text) => text.num_hidden_layers = 2,
        TextConfig::T5(text) => (text.num_layers, text.num_decoder_layers) = (2, 2),
        _ => panic!("another language model"),
    }
    let blip2 = Blip2Pipeline::builder_random(config, 0)
        .precision(precision)
        .load()
        .unwrap();
    let options = options(work);
    let image = image::RgbImage::new(640, 480);
    // A prediction is of prompts of several lengths: where they are padded, there is more to hold.
    let pairs = (0..work.batch).map(|row| (&image, vec![50; work.prompt_tokens - row]));
    blip2.prompt_ids_batch(pairs, &options).unwrap();
    blip2.memory().predict(&work).peak()
}

fn options(work: Workload) -> Options {
    let generation = GenerationConfig::default()
        .with_min_new_tokens(work.new_tokens)
        .with_max_new_tokens(work.new_tokens)
        .with_num_beams(work.beams);
    Options::default().with_generation(generation)
}

/// Runs a BLIP-1 of the published widths, on the tokenizer of a small one.
fn run_blip1(precision: Precision, work: Workload) -> u64 {
    let folder = copy("blip1_vqa");
    let edit = |file: &str, edit: &dyn Fn(&mut Value)| {
        let path = folder.path().join(file);
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut json);
        fs::write(path, json.to_string()).unwrap();
    };
    edit("config.json", &|config| {
        for part in ["text_config", "vision_config"] {
            let wide = [
                ("hidden_size", 768),
                ("encoder_hidden_size", 768),
                ("intermediate_size", 3072),
                ("num_hidden_layers", 2),
                ("num_attention_heads", 12),
                ("vocab_size", 30524),
                ("max_position_embeddings", 512),
                ("image_size", 384),
            ];
            for (key, value) in wide {
                if !config[part][key].is_null() {
                    config[part][key] = value.into();
                }
            }
        }
    });
    edit("preprocessor_config.json", &|config| {
        config["size"] = json!({"height": 384, "width": 384});
    });
    let folder = CheckpointFolder::open(folder.path()).unwrap();
    let config = folder.blip_config().unwrap();
    let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
    let weights = Weights::new(&source, &device);
    let model = BlipForQuestionAnswering::load(&config, &weights, precision).unwrap();
    let blip = BlipAnswerer::builder_from(folder)
        .precision(precision)
        .model(model);
    let blip = blip.load().unwrap();
    // A word is at least a token, and the question is framed by two.
    let question = (1..)
        .map(|words| "it ".repeat(words))
        .find(|text| blip.tokenizer().encode(text).unwrap().len() >= work.prompt_tokens);
    let question = question.unwrap();
    let image = image::RgbImage::new(640, 480);
    let pairs = (0..work.batch).map(|_| (&image, &question));
    blip.answer_batch(pairs, &options(work)).unwrap();
    let plan = MemoryPlan::of_blip1(&config, ModelKind::BlipAnswer, precision).unwrap();
    plan.predict(&work).peak()
}

/// Runs a Granite Speech on a long recording, with a context that has room for it.
#[cfg(feature = "speech")]
fn run_speech(precision: Precision, work: Workload) -> u64 {
    let folder = copy("granite_speech");
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["text_config"]["max_position_embeddings"] = 100_000.into();
    fs::write(path, config.to_string()).unwrap();
    let speech = SpeechPipeline::builder(folder.path()).precision(precision);
    let speech = speech.load().unwrap();
    let samples = (0..16_000 * SECONDS).map(|n| (n % 160) as f32 / 400.0);
    let sound = Waveform::new(samples.collect(), 16_000).unwrap();
    speech
        .ask_with(&sound, "what is said?", &options(work))
        .unwrap();
    speech.memory().predict(&work).peak()
}
