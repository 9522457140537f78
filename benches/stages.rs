//! The stages of an answer, on the demonstration model.
//!
//! ```sh
//! cargo bench -p blip2-benches
//! ```

#![allow(missing_docs)]
#![allow(clippy::unwrap_used)] // a benchmark that cannot run should say so loudly

use std::sync::LazyLock;

use blip2_core::{
    Blip2Pipeline, GenerationConfig, Options,
    preprocessing::{ImageProcessor, ImageProcessorConfig, Resample, Size, resize},
};
use divan::{Bencher, black_box};

const MODEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/models/easy-vqa-opt"
);
const PICTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/images/red-triangle.png"
);

static PIPELINE: LazyLock<Blip2Pipeline> =
    LazyLock::new(|| Blip2Pipeline::from_pretrained(MODEL).unwrap());

fn main() {
    divan::main();
}

#[divan::bench]
fn load() -> Blip2Pipeline {
    Blip2Pipeline::from_pretrained(MODEL).unwrap()
}

#[divan::bench]
fn look(bencher: Bencher<'_, '_>) {
    let image = blip2_core::open_image(PICTURE).unwrap();
    bencher.bench(|| PIPELINE.look(black_box(&image)).unwrap().timings());
}

#[divan::bench]
fn ask(bencher: Bencher<'_, '_>) {
    let image = blip2_core::open_image(PICTURE).unwrap();
    let seen = PIPELINE.look(&image).unwrap();
    bencher.bench(|| seen.ask(black_box("what color is the shape?")).unwrap());
}

#[divan::bench(args = [1, 5])]
fn twenty_tokens(bencher: Bencher<'_, '_>, num_beams: usize) {
    let image = blip2_core::open_image(PICTURE).unwrap();
    let seen = PIPELINE.look(&image).unwrap();
    let generation = GenerationConfig::default()
        .with_num_beams(num_beams)
        .with_min_new_tokens(20)
        .with_max_new_tokens(20);
    let options = Options::default().with_generation(generation);
    bencher.bench(|| seen.prompt_with(black_box("the"), &options).unwrap());
}

#[divan::bench(args = [64, 224, 364])]
fn preprocess_640x480(bencher: Bencher<'_, '_>, side: u32) {
    let picture = blip2_core::preprocessing::decode_file(PICTURE, &Default::default()).unwrap();
    let picture = resize(&picture, 640, 480, Resample::Bicubic);
    let config = ImageProcessorConfig::default().with_size(Size {
        height: side,
        width: side,
    });
    let processor = ImageProcessor::new(config).unwrap();
    bencher.bench(|| processor.process(black_box(&picture)).unwrap());
}
