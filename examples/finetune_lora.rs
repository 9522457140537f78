//! Adapts a model to IconQA's fill-in-the-blank questions with low-rank adapters of rank 16 on the
//! queries and keys of attention: AdamW at 4e-5, multiplied by 0.9 after each of three epochs.
//!
//! The data is a folder in IconQA's layout, `train.jsonl` (`question`, `answer`, `pid`) and
//! `train_fill_in_blank/{pid}/image.png`:
//!
//! ```sh
//! cargo run --release --example finetune_lora -- iconqa --model models/blip2-opt-2.7b --precision int8
//! ```
//!
//! Writes `adapter`, which PEFT loads, and answers questions with it.

#![allow(clippy::print_stdout)]

use std::{error::Error, path::PathBuf};

use blip2_core::{Blip2Pipeline, CheckpointFolder, GenerationConfig, Precision};
use blip2_io::{
    dataset::{Dataset, Loader, OnBroken},
    preprocessing::ImageProcessor,
};
use blip2_train::{
    AdamW, Answering, Exponential, LoraConfig, Recipe, Record, Scoring, Training, Watch,
    answer_all, train,
};
use clap::Parser;
use indicatif::ProgressBar;

#[derive(Parser)]
struct Arguments {
    /// The folder with `train.jsonl`.
    data: PathBuf,
    /// The folder of its pictures. Default: `train_fill_in_blank` in it.
    #[arg(long)]
    pictures: Option<PathBuf>,
    /// The checkpoint.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/easy-vqa-opt"))]
    model: PathBuf,
    /// What the base is held in; it stays as it is.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Where the adapter is written; beside it, states to go on from.
    #[arg(long, default_value = "iconqa-lora")]
    out: PathBuf,
    /// The adapted layers, by the last parts of their names.
    #[arg(long, value_delimiter = ',', default_value = "query,key,q_proj,k_proj")]
    targets: Vec<String>,
    #[arg(long, default_value_t = 3)]
    epochs: usize,
    #[arg(long, default_value_t = 8)]
    batch: usize,
    #[arg(long, default_value_t = 4e-5)]
    lr: f64,
}

struct Shown(ProgressBar);

impl Watch for Shown {
    fn stepped(&mut self, record: &Record) {
        self.0.set_position(record.step as u64 + 1);
        self.0.set_message(format!("loss {:.4}", record.loss));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let pictures = match &arguments.pictures {
        Some(pictures) => pictures.clone(),
        None => arguments.data.join("train_fill_in_blank"),
    };
    let file = arguments.data.join("train.jsonl");
    let data = Dataset::json_lines(file, pictures, OnBroken::Skip)?;
    for record in data.broken() {
        println!("left out: {record}");
    }

    let folder = CheckpointFolder::open(&arguments.model)?;
    let lora = LoraConfig::new(16, arguments.targets).with_alpha(32.0);
    let trained = Training::of(&folder)?
        .precision(arguments.precision)
        .lora(lora, 0)?
        .load()?;
    let loader = Loader::new(
        data.clone(),
        ImageProcessor::new(folder.image_processor()?)?,
    )
    .batch(arguments.batch)
    .shuffled(0)
    .on_broken(OnBroken::Skip);
    let per_epoch = loader.batches();
    let steps = arguments.epochs * per_epoch;
    let schedule = Exponential::new(arguments.lr, 0.9, per_epoch);
    let recipe = Recipe::new(steps, schedule).with_states(arguments.out.join("states"));
    let mut objective = Answering::new(&folder)?;
    let mut shown = Shown(ProgressBar::new(steps as u64));
    let optimizer = AdamW::default().with_weight_decay(0.01);
    let outcome = train(
        trained,
        optimizer,
        &loader,
        &recipe,
        &mut objective,
        &mut shown,
    )?;
    shown.0.finish_and_clear();
    if let [first, .., last] = &outcome.metrics.records[..] {
        println!("{steps} steps, loss {:.4} to {:.4}", first.loss, last.loss);
    }
    outcome.trained.save_lora(arguments.out.join("adapter"))?;
    println!("wrote {}", arguments.out.join("adapter").display());

    let blip2 = Blip2Pipeline::builder_from(folder)
        .model(outcome.trained.into_model())
        .load()?;
    let some = data.first(200);
    let answers = answer_all(&blip2, &some, &GenerationConfig::default(), 16, |_| {})?;
    let found = Scoring::ExactMatch.of(&some, answers)?;
    println!(
        "{:.1} % of {} training questions right",
        100.0 * found.score,
        some.len()
    );
    Ok(())
}
