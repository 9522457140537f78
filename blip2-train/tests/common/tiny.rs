//! A model of one layer, and a data set of eight pictures.

use std::path::Path;

use blip2_io::{
    dataset::{Dataset, LoadedBatch, Loader, PictureFile},
    preprocessing::{ImageProcessor, ImageProcessorConfig, Size},
};
use blip2_kernels::{Bias, Linear, RandomWeights};
use blip2_train::{At, Losses, Recipe, Schedule, TrainError, TrainPlan, Trained, device_of};
use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use image::{Rgb, RgbImage};

/// Guesses a picture's mean level by its pixels.
#[derive(Module, Debug)]
pub(crate) struct Tiny {
    pub(crate) layer: Linear,
}

const PIXELS: usize = 3 * 4 * 4;

pub(crate) fn tiny() -> Trained<Tiny> {
    tiny_of(&TrainPlan::all())
}

/// The same, of which a plan says what is trained.
pub(crate) fn tiny_of(plan: &TrainPlan<'_>) -> Trained<Tiny> {
    let source = RandomWeights::new(1, 0.1);
    Trained::build(&source, &Device::flex(), plan, |weights| {
        let layer = weights.linear("layer", PIXELS, 1, Bias::With);
        Ok(Tiny { layer })
    })
    .unwrap()
}

pub(crate) fn loader(folder: &Path, batch: usize) -> Loader {
    asking(folder, batch, 1)
}

/// With several questions about each picture.
pub(crate) fn asking(folder: &Path, batch: usize, questions: usize) -> Loader {
    let pictures = (0..8u8).map(|level| {
        let path = folder.join(format!("{level}.png"));
        RgbImage::from_fn(4, 4, |x, _| Rgb([level * 30, x as u8 * 9, 100]))
            .save(&path)
            .unwrap();
        PictureFile::File(path)
    });
    let examples = (0..8 * questions).map(|n| (n / questions, None, vec![n.to_string()]));
    let data = Dataset::new(pictures.collect(), examples).unwrap();
    let size = Size {
        height: 4,
        width: 4,
    };
    let config = ImageProcessorConfig::default().with_size(size);
    let processor = ImageProcessor::new(config).unwrap();
    Loader::new(data, processor).batch(batch).shuffled(5)
}

/// The mean square of what a guess is off.
pub(crate) fn loss(model: &Tiny, batch: &LoadedBatch, _: At) -> Result<Losses, TrainError> {
    let pixels = batch.pixel_values.clone().tensor(&device_of(model));
    let [count, ..] = pixels.dims();
    let guess = model.layer.forward(pixels.reshape([count, PIXELS]));
    let right: Vec<f32> = batch
        .examples
        .iter()
        .map(|shown| shown.number as f32 / 8.0)
        .collect();
    let right = Tensor::<1>::from_floats(&right[..], &Device::flex()).reshape([count, 1]);
    let square = (guess - right).square().mean();
    Ok(Losses {
        parts: vec![("square", square.clone())],
        total: square,
        weight: None,
    })
}

pub(crate) fn constant(steps: usize) -> Recipe {
    Recipe::new(steps, Schedule::constant(0.01))
}

pub(crate) fn weights(trained: &Trained<Tiny>) -> Vec<f32> {
    trained.values()["layer.weight"]
        .clone()
        .try_into_vec()
        .unwrap()
}

pub(crate) fn furthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter()
        .zip(b)
        .fold(0f32, |most, (a, b)| most.max((a - b).abs()))
}
