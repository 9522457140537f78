//! Answers all test questions of the easy-VQA data set and compares the answers with the right
//! ones and, if they are given, with those of `transformers`.
//!
//! The data is the folder `easy_vqa/data` of the package `easy-vqa` 1.0 on PyPI:
//!
//! ```sh
//! pip download --no-deps easy-vqa==1.0 && python -m zipfile -e easy_vqa-1.0-*.whl easy-vqa
//! cargo run --release --example easy_vqa -- easy-vqa/easy_vqa/data
//! ```

#![allow(clippy::print_stdout)]

use std::{error::Error, fs, path::PathBuf};

use blip2_core::{Blip2Pipeline, GenerationConfig, Options, open_image};
use clap::Parser;
use image::RgbImage;
use indicatif::ProgressBar;
use serde_json::Value;

#[derive(Parser)]
struct Arguments {
    /// The folder `easy_vqa/data` of the package.
    data: PathBuf,
    /// The checkpoint.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/easy-vqa-opt"))]
    model: PathBuf,
    /// The reference's answers, `easy_vqa_test_predictions.json`.
    #[arg(long)]
    predictions: Option<PathBuf>,
    /// Questions answered together.
    #[arg(long, default_value_t = 64)]
    batch: usize,
}

/// Below this gap between the two likeliest tokens the reference's choice is a coin toss.
const NEAR_TIE: f64 = 1e-3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let test = arguments.data.join("test");
    let questions: Vec<(String, String, usize)> =
        serde_json::from_slice(&fs::read(test.join("questions.json"))?)?;
    let pictures = questions
        .iter()
        .map(|(_, _, picture)| picture + 1)
        .max()
        .unwrap_or(0);
    let pictures: Vec<RgbImage> = (0..pictures)
        .map(|n| open_image(test.join(format!("images/{n}.png"))))
        .collect::<Result<_, _>>()?;

    let blip2 = Blip2Pipeline::from_pretrained(&arguments.model)?;
    let options = Options::default()
        .template("Question: {} Answer:".parse()?)
        .generation(GenerationConfig {
            max_new_tokens: Some(6),
            ..Default::default()
        });
    let bar = ProgressBar::new(questions.len() as u64);
    let mut answers = Vec::with_capacity(questions.len());
    for batch in questions.chunks(arguments.batch.max(1)) {
        let pairs = batch
            .iter()
            .map(|(question, _, picture)| (&pictures[*picture], question));
        answers.extend(
            blip2
                .answer_batch(pairs, &options)?
                .into_iter()
                .map(|answer| answer.text),
        );
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();

    let right = questions
        .iter()
        .zip(&answers)
        .filter(|((_, right, _), found)| right == *found);
    let (right, all) = (right.count(), answers.len());
    println!(
        "{right} of {all} answers are right: {:.2} %",
        100.0 * right as f64 / all as f64
    );

    let Some(path) = arguments.predictions else {
        return Ok(());
    };
    let reference: Value = serde_json::from_slice(&fs::read(path)?)?;
    let expected: Vec<String> = serde_json::from_value(reference["predictions"].clone())?;
    let gaps: Vec<f64> = serde_json::from_value(reference["smallest_top2_gap"].clone())?;
    let (mut compared, mut equal, mut ties) = (0, 0, 0);
    for (n, ((found, expected), gap)) in answers.iter().zip(&expected).zip(gaps).enumerate() {
        if gap < NEAR_TIE {
            ties += 1;
            continue;
        }
        compared += 1;
        if found == expected {
            equal += 1;
        } else {
            println!("question {n}: `{found}`, the reference says `{expected}` (gap {gap})");
        }
    }
    println!("{equal} of {compared} answers are the reference's; {ties} near ties left out");
    if equal == compared {
        Ok(())
    } else {
        Err("the answers differ from the reference's".into())
    }
}
