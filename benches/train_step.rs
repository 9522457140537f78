//! The time of a training step of the model that the example `train_easy_vqa` trains, for
//! `peers/train.py`: forward, backward, clipping and AdamW on a batch that stays the same.

#![allow(clippy::print_stdout)]

use std::{error::Error, fs, path::PathBuf, time::Instant};

use blip2_core::{
    Precision,
    config::Blip2Config,
    model::{Blip2ForConditionalGeneration, Blip2ForPretraining, PromptRows},
};
use blip2_train::{
    AdamW, FreshWeights, TrainError, TrainPlan, Trained,
    objective::{Batch, Pairs, first_stage_losses, language_model_loss},
};
use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Arguments {
    stage: Stage,
    #[arg(long, default_value_t = 20)]
    steps: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/train.json"))]
    config: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stage {
    /// Contrast, matching and generation of 64 pairs.
    First,
    /// The language model's loss on 128 questions about 32 pictures.
    Second,
}

/// Steps before the clock starts.
const WARM: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads)
        .build_global()?;
    let config: Blip2Config = serde_json::from_slice(&fs::read(&arguments.config)?)?;
    let source = FreshWeights::new(&config, 0);
    let (device, plan) = (Device::flex(), TrainPlan::all());
    let mut seconds = match arguments.stage {
        Stage::First => {
            let trained = Trained::build(&source, &device, &plan, |weights| {
                Ok(Blip2ForPretraining::load(&config, weights)?)
            })?;
            let pairs = Pairs {
                pixel_values: pixels(64),
                texts: PromptRows::new(ids(64, 6), vec![vec![true; 6]; 64])?,
                writes: 0,
                subjects: Vec::new(),
            };
            timed(trained, arguments.steps, |model, step| {
                Ok(first_stage_losses(model, &pairs, step)?.sum())
            })?
        }
        Stage::Second => {
            let mut config = config.clone();
            config.qformer_config.use_qformer_text_input = false;
            let trained = Trained::build(&source, &device, &plan, |weights| {
                Ok(Blip2ForConditionalGeneration::load(
                    &config,
                    weights,
                    Precision::F32,
                )?)
            })?;
            let rows = ids(128, 16)
                .into_iter()
                .map(|row| [vec![361; 8], row].concat());
            let rows: Vec<Vec<u32>> = rows.collect();
            let label = |row: &Vec<u32>| {
                let before = std::iter::repeat_n(-100, 22);
                before
                    .chain(row[22..].iter().map(|&id| i64::from(id)))
                    .collect()
            };
            let batch = Batch {
                pixel_values: pixels(32),
                pictures: (0..128).map(|row| row / 4).collect(),
                labels: rows.iter().map(label).collect(),
                rows: PromptRows::new(rows, vec![vec![true; 24]; 128])?,
                instructions: None,
            };
            timed(trained, arguments.steps, |model, _| {
                language_model_loss(model, &batch, 0.0)
            })?
        }
    };
    seconds.sort_by(f64::total_cmp);
    println!("{}", seconds[seconds.len() / 2]);
    Ok(())
}

fn timed<M: Module>(
    mut trained: Trained<M>,
    steps: usize,
    mut loss: impl FnMut(&M, u64) -> Result<Tensor<1>, TrainError>,
) -> Result<Vec<f64>, TrainError> {
    let mut optimizer = AdamW::default();
    let mut seconds = Vec::new();
    for step in 0..WARM + steps.max(1) {
        let began = Instant::now();
        let loss = loss(trained.model(), step as u64)?;
        let gradients = trained.gradients(loss)?.clipped(1.0);
        optimizer.step(&mut trained, gradients, 1e-4)?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    Ok(seconds.split_off(WARM))
}

fn pixels(count: usize) -> Tensor<4> {
    let values = (0..count * 3 * 64 * 64).map(|n| ((n * 7919) % 2003) as f32 / 1000.0 - 1.0);
    let data = TensorData::new(values.collect::<Vec<_>>(), [count, 3, 64, 64]);
    Tensor::from_data(data, &Device::flex())
}

fn ids(rows: usize, length: usize) -> Vec<Vec<u32>> {
    let row = |row: usize| {
        (0..length)
            .map(|n| ((row * 31 + n * 17) % 350 + 5) as u32)
            .collect()
    };
    (0..rows).map(row).collect()
}
