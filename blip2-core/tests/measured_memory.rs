//! Predictions against what the system says a process held. Each case runs in a process of its
//! own, because a peak never falls.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::process::Command;

use blip2_core::{
    Blip2Pipeline, GenerationConfig, Options, Precision, Preset, TextConfig,
    memory::{Workload, machine},
};

const CASE: &str = "BLIP2_MEMORY_CASE";

/// A preset with two layers of each stack, of which the output head alone is half a gigabyte.
struct Case {
    preset: Preset,
    precision: Precision,
    work: Workload,
}

fn cases() -> Vec<Case> {
    let work = |batch, prompt_tokens, new_tokens, beams| {
        Workload::default()
            .with_batch(batch)
            .with_prompt_tokens(prompt_tokens)
            .with_new_tokens(new_tokens)
            .with_beams(beams)
    };
    let (opt, t5) = (Preset::Blip2Opt2_7b, Preset::Blip2FlanT5Xl);
    [
        (opt, Precision::Bf16, work(1, 40, 4, 1)),
        (opt, Precision::F32, work(8, 40, 2, 1)),
        (opt, Precision::Int8, work(8, 40, 12, 5)),
        (t5, Precision::Bf16, work(2, 600, 3, 1)),
    ]
    .map(|(preset, precision, work)| Case {
        preset,
        precision,
        work,
    })
    .into()
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
            off.abs() < 0.1,
            "{} {} {:?}: {measured} bytes, {predicted} predicted",
            case.preset,
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
        preset,
        precision,
        work,
    } = cases().swap_remove(n.parse().unwrap());
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
    let options = Options::default().with_generation(
        GenerationConfig::default()
            .with_min_new_tokens(work.new_tokens)
            .with_max_new_tokens(work.new_tokens)
            .with_num_beams(work.beams),
    );
    let image = image::RgbImage::new(640, 480);
    let prompt = vec![50; work.prompt_tokens];
    let pairs = (0..work.batch).map(|_| (&image, prompt.clone()));
    blip2.prompt_ids_batch(pairs, &options).unwrap();
    println!(
        "\nbytes {} {}",
        machine::peak_resident().unwrap(),
        blip2.memory().predict(&work).peak()
    );
}
