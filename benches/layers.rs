//! Layers of the published models' widths, two of each stack: what a stage costs for each layer,
//! without waiting for all of them. Whole models are measured by `blip2 bench`.
//!
//! ```sh
//! cargo bench -p blip2-benches --bench layers
//! ```

#![allow(missing_docs)]
#![allow(clippy::unwrap_used)] // a benchmark that cannot run should say so loudly

use blip2_core::{
    Blip2Pipeline, Precision, Preset, TextConfig,
    generate::DecodeSession,
    model::{ImageFeatures, PromptRows},
    preprocessing::{ImageProcessor, ImageProcessorConfig},
};
use divan::{Bencher, black_box};

const LAYERS: usize = 2;
const PROMPT: usize = 40;

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];
const CASES: [(Preset, Precision); 6] = [
    (Preset::Blip2Opt2_7b, Precision::F32),
    (Preset::Blip2Opt2_7b, Precision::Bf16),
    (Preset::Blip2Opt2_7b, Precision::Int8),
    (Preset::Blip2FlanT5Xl, Precision::F32),
    (Preset::Blip2FlanT5Xl, Precision::Bf16),
    (Preset::Blip2FlanT5Xl, Precision::Int8),
];

fn main() {
    divan::main();
}

/// A preset with few layers.
fn short(preset: Preset, precision: Precision) -> Blip2Pipeline {
    let mut config = preset.config();
    config.vision_config.num_hidden_layers = LAYERS;
    config.qformer_config.num_hidden_layers = LAYERS;
    match &mut config.text_config {
        TextConfig::Opt(text) => text.num_hidden_layers = LAYERS,
        TextConfig::T5(text) => {
            text.num_layers = LAYERS;
            text.num_decoder_layers = LAYERS;
        }
        _ => {}
    }
    Blip2Pipeline::builder_random(config, 0)
        .precision(precision)
        .load()
        .unwrap()
}

/// What a model sees in a picture, and a prompt about it.
fn prompt(blip2: &Blip2Pipeline) -> (ImageFeatures, PromptRows) {
    let features = blip2.look(&image::RgbImage::new(64, 64)).unwrap();
    let places = vec![blip2.model().image_token().unwrap(); blip2.model().num_query_tokens()];
    let row = [places, vec![50; PROMPT]].concat();
    let mask = vec![vec![true; row.len()]];
    let rows = PromptRows::new(vec![row], mask).unwrap();
    (features.features().unwrap().clone(), rows)
}

#[divan::bench(args = PRECISIONS)]
fn vision(bencher: Bencher<'_, '_>, precision: Precision) {
    let blip2 = short(Preset::Blip2Opt2_7b, precision);
    let processor = ImageProcessor::new(ImageProcessorConfig::default()).unwrap();
    let pixels = processor.process(&image::RgbImage::new(64, 64)).unwrap();
    let pixels = pixels.tensor(blip2.device());
    bencher.bench(|| {
        blip2
            .model()
            .encode_image(black_box(pixels.clone()))
            .unwrap()
    });
}

#[divan::bench]
fn qformer(bencher: Bencher<'_, '_>) {
    let blip2 = short(Preset::Blip2Opt2_7b, Precision::F32);
    let processor = ImageProcessor::new(ImageProcessorConfig::default()).unwrap();
    let pixels = processor.process(&image::RgbImage::new(64, 64)).unwrap();
    let embeds = blip2
        .model()
        .encode_image(pixels.tensor(blip2.device()))
        .unwrap();
    bencher.bench(|| blip2.model().query(black_box(embeds.clone())).unwrap());
}

/// OPT's first step; T5's encoder and its decoder's first step.
#[divan::bench(args = CASES)]
fn prefill(bencher: Bencher<'_, '_>, (preset, precision): (Preset, Precision)) {
    let blip2 = short(preset, precision);
    let (features, rows) = prompt(&blip2);
    bencher.bench(|| {
        let mut session = blip2.model().start(&features, &rows, 1).unwrap();
        session.prefill().unwrap()
    });
}

/// A later step of one row, the output head included.
#[divan::bench(args = CASES)]
fn step(bencher: Bencher<'_, '_>, (preset, precision): (Preset, Precision)) {
    let blip2 = short(preset, precision);
    let (features, rows) = prompt(&blip2);
    bencher
        .with_inputs(|| {
            let mut session = blip2.model().start(&features, &rows, 2).unwrap();
            session.prefill().unwrap();
            session
        })
        .bench_local_refs(|session| session.step(&[0], black_box(&[50])).unwrap());
}
