//! Trains a small BLIP-2 from scratch on easy-VQA, on a CPU, in both of the paper's stages: first the
//! queries learn to see what captions say (contrast, matching, generation), then a language model
//! learns to answer what they see. Writes a Hugging Face folder, and answers all test questions.
//!
//! The data set is the wheel of `easy-vqa` 1.0 on PyPI (MIT; 5,000 pictures of coloured shapes):
//!
//! ```sh
//! pip download --no-deps easy-vqa
//! cargo run --release --example train_easy_vqa
//! ```
//!
//! Killed at any moment, the next run goes on where the last state was saved.

#![allow(clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use blip2_core::{
    AnswerRows, Blip2Pipeline, CheckpointFolder, Precision,
    config::Blip2Config,
    model::{Blip2ForConditionalGeneration, Blip2ForPretraining, PaddingSide, PromptRows},
};
use blip2_io::{
    IoError, Tokenizer,
    dataset::{Augmentation, Dataset, LoadedBatch, Loader, OnBroken, Split},
    preprocessing::ImageProcessor,
};
use blip2_train::{
    AdamW, At, FreshWeights, Losses, Recipe, Record, Score, TrainError, TrainPlan, Trained,
    WarmupCosine, Watch, device_of,
    objective::{Batch, Pairs, first_stage_losses, language_model_loss},
};
use burn::tensor::{Device, TensorData};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

#[path = "support/easy_vqa_captions.rs"]
mod easy_vqa_captions;

use easy_vqa_captions::{captioned, right_answers};

#[derive(Parser)]
struct Arguments {
    /// The wheel, or the folder `easy_vqa/data` in it.
    #[arg(default_value = "easy_vqa-1.0-py3-none-any.whl")]
    data: PathBuf,
    /// Where the model is written; beside it, states to go on from.
    #[arg(long, default_value = "easy-vqa-trained")]
    out: PathBuf,
    /// Steps of the first stage, of 64 pictures with their captions each.
    #[arg(long, default_value_t = 4000)]
    first: usize,
    /// Steps of the second stage, of 32 pictures with up to four questions each.
    #[arg(long, default_value_t = 3000)]
    second: usize,
    /// The highest learning rate of both.
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// What all random numbers follow from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A folder whose tokenizer and processor the new model takes over.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/easy-vqa-opt"))]
    like: PathBuf,
}

/// What the tokenizer has as `</s>` begins texts that are read and ends all; `<s>` begins those that
/// are written.
const END: u32 = 2;
const WRITES: u32 = 0;
const WIDTH: usize = 96;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if !arguments.data.exists() {
        let file = arguments.data.display();
        return Err(
            format!("{file} is not there: `pip download --no-deps easy-vqa` brings it").into(),
        );
    }
    let like = CheckpointFolder::open(&arguments.like)?;
    let config = configuration(&like)?;
    let data = Dataset::easy_vqa(&arguments.data, Split::Train, OnBroken::Fail)?;
    let processor = ImageProcessor::new(like.image_processor()?)?;
    let began = Instant::now();

    let seeing = first_stage(&arguments, &config, &data, &processor, &like)?;
    let trained = second_stage(&arguments, &config, seeing, &data, &processor, &like)?;
    trained.save_fresh(&config, &arguments.out)?;
    for file in [
        "tokenizer.json",
        "tokenizer_config.json",
        "processor_config.json",
        "generation_config.json",
    ] {
        fs::copy(arguments.like.join(file), arguments.out.join(file))?;
    }
    let parameters: usize = trained
        .parameters()
        .map(|named| named.shape.iter().product::<usize>())
        .sum();
    println!(
        "{parameters} parameters, {:.0} s",
        began.elapsed().as_secs_f64()
    );

    let blip2 = Blip2Pipeline::from_pretrained(&arguments.out)?;
    let test = Dataset::easy_vqa(&arguments.data, Split::Test, OnBroken::Fail)?;
    for (kind, [right, all]) in right_answers(&blip2, &test)? {
        println!(
            "{kind:<6} {right:>5} of {all:>5} = {:.2} %",
            100.0 * right as f64 / all as f64
        );
    }
    Ok(())
}

/// A BLIP-2 of 1.3 million parameters.
fn configuration(like: &CheckpointFolder) -> Result<Blip2Config, Box<dyn Error>> {
    let text = fs::read(like.path().join("config.json"))?;
    let mut config: serde_json::Value = serde_json::from_slice(&text)?;
    for part in ["vision_config", "qformer_config", "text_config"] {
        let part = &mut config[part];
        part["hidden_size"] = WIDTH.into();
        part["intermediate_size"] = (4 * WIDTH).into();
    }
    config["vision_config"]["patch_size"] = 8.into();
    config["vision_config"]["num_hidden_layers"] = 4.into();
    config["qformer_config"]["cross_attention_frequency"] = 1.into();
    config["qformer_config"]["encoder_hidden_size"] = WIDTH.into();
    config["text_config"]["ffn_dim"] = (4 * WIDTH).into();
    config["text_config"]["word_embed_proj_dim"] = WIDTH.into();
    Ok(serde_json::from_value(config)?)
}

/// Contrast, matching and generation on captions such as "a red circle".
fn first_stage(
    arguments: &Arguments,
    config: &Blip2Config,
    data: &Dataset,
    processor: &ImageProcessor,
    like: &CheckpointFolder,
) -> Result<BTreeMap<String, TensorData>, Box<dyn Error>> {
    let mut config = config.clone();
    config.image_text_hidden_size = 64;
    config.qformer_config.use_qformer_text_input = true;
    config.qformer_config.vocab_size = config.text_config.vocab_size();
    config.qformer_config.max_position_embeddings = 16;
    let captions = captioned(data)?;
    let tokenizer = like.tokenizer()?;
    let loader = Loader::new(captions, processor.clone())
        .batch(64)
        .shuffled(arguments.seed)
        .augmented(augmentation());

    let source = FreshWeights::new(&config, arguments.seed);
    let plan = TrainPlan::all();
    let trained = Trained::build(&source, &Device::flex(), &plan, |weights| {
        Ok(Blip2ForPretraining::load(&config, weights)?)
    })?;
    let mut objective = |model: &Blip2ForPretraining, batch: &LoadedBatch, at: At| {
        let rows: Vec<Vec<u32>> = batch
            .examples
            .iter()
            .map(|shown| caption_ids(&tokenizer, &shown.example.answers[0]))
            .collect::<Result<_, _>>()?;
        let pairs = Pairs {
            pixel_values: batch.pixel_values.clone().tensor(&device_of(model)),
            texts: PromptRows::lay_out(&rows, None, 0, 1, PaddingSide::Right)?,
            writes: WRITES,
            subjects: rows.iter().map(|row| subject(row)).collect(),
        };
        let losses = first_stage_losses(model, &pairs, at.seed)?;
        Ok::<_, TrainError>(Losses {
            total: losses.sum(),
            parts: vec![
                ("itc", losses.contrast),
                ("itm", losses.matching),
                ("itg", losses.generation),
            ],
            weight: None,
        })
    };
    let recipe = recipe(arguments, arguments.first, "first");
    let mut shown = Shown::new("first stage", arguments.first)?;
    let outcome = blip2_train::train(
        trained,
        optimizer(),
        &loader,
        &recipe,
        &mut objective,
        &mut shown,
    )?;
    Ok(outcome.trained.values())
}

/// The language model's loss on answers.
fn second_stage(
    arguments: &Arguments,
    config: &Blip2Config,
    seeing: BTreeMap<String, TensorData>,
    data: &Dataset,
    processor: &ImageProcessor,
    like: &CheckpointFolder,
) -> Result<Trained<Blip2ForConditionalGeneration>, Box<dyn Error>> {
    let rows = AnswerRows::of(like, None)?;
    let loader = Loader::new(data.clone(), processor.clone())
        .batch(32)
        .by_picture(4)
        .shuffled(arguments.seed)
        .augmented(augmentation());
    let source = FreshWeights::new(config, arguments.seed).with_values(seeing);
    let plan = TrainPlan::all();
    let trained = Trained::build(&source, &Device::flex(), &plan, |weights| {
        Ok(Blip2ForConditionalGeneration::load(
            config,
            weights,
            Precision::F32,
        )?)
    })?;
    let mut objective = |model: &Blip2ForConditionalGeneration, batch: &LoadedBatch, _: At| {
        let pairs: Vec<(&str, &str)> = batch
            .examples
            .iter()
            .map(|shown| {
                let example = &shown.example;
                let question = example.question.as_deref().unwrap_or_default();
                (question, example.answers[0].as_str())
            })
            .collect();
        let pixels = batch.pixel_values.clone().tensor(&device_of(model));
        let batch = Batch::new(pixels, batch.rows(), rows.questions(&pairs)?);
        Ok::<_, TrainError>(Losses::from(language_model_loss(model, &batch, 0.0)?))
    };
    let recipe = recipe(arguments, arguments.second, "second");
    let mut shown = Shown::new("second stage", arguments.second)?;
    let outcome = blip2_train::train(
        trained,
        optimizer(),
        &loader,
        &recipe,
        &mut objective,
        &mut shown,
    )?;
    Ok(outcome.trained)
}

/// Nothing in easy-VQA's questions depends on where a shape is, or how it is turned.
fn augmentation() -> Augmentation {
    Augmentation::default()
        .with_flip(true)
        .with_quarter_turns(true)
        .with_shift(8)
}

fn optimizer() -> AdamW {
    AdamW::default().with_betas([0.9, 0.98])
}

fn recipe(arguments: &Arguments, steps: usize, stage: &str) -> Recipe {
    let schedule = WarmupCosine::new(arguments.lr, steps)
        .with_min(0.02 * arguments.lr)
        .with_warmup(200);
    Recipe::new(steps, schedule)
        .with_ema(0.998)
        .with_states(states(&arguments.out, stage))
        .with_save_every(100)
        .with_seed(arguments.seed)
}

fn states(out: &Path, stage: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(format!("-states-{stage}"));
    name.into()
}

fn caption_ids(tokenizer: &Tokenizer, caption: &str) -> Result<Vec<u32>, IoError> {
    let mut ids = vec![END];
    ids.extend(tokenizer.encode_with(&format!(" {caption}"), false)?);
    ids.push(END);
    Ok(ids)
}

/// Captions of one text show the same.
fn subject(ids: &[u32]) -> u64 {
    ids.iter()
        .fold(0, |hash, id| hash * 1_000_003 + u64::from(*id))
}

/// A progress bar.
struct Shown(ProgressBar);

impl Shown {
    fn new(stage: &'static str, steps: usize) -> Result<Self, Box<dyn Error>> {
        let style = "{prefix} {pos}/{len} {bar:30} {elapsed}, left {eta}, {msg}";
        let bar = ProgressBar::new(steps as u64).with_prefix(stage);
        bar.set_style(ProgressStyle::with_template(style)?);
        Ok(Self(bar))
    }
}

impl Watch for Shown {
    fn stepped(&mut self, record: &Record) {
        self.0.set_position(record.step as u64 + 1);
        let parts: Vec<String> = record
            .parts
            .iter()
            .map(|(name, part)| format!("{name} {part:.3}"))
            .collect();
        self.0
            .set_message(format!("loss {:.3} {}", record.loss, parts.join(" ")));
    }

    fn scored(&mut self, score: &Score) {
        self.0.println(format!(
            "score {:.4} after {} steps",
            score.value, score.step
        ));
    }

    fn resumed(&mut self, step: usize) {
        self.0.println(format!("going on after {step} steps"));
    }
}
