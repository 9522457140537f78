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

#[path = "support/easy_vqa_data.rs"]
mod easy_vqa_data;

use blip2_core::{Answer, Blip2Pipeline};
use clap::Parser;
use easy_vqa_data::TestSplit;
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
    /// Answer every question once more by speculative decoding, and compare the tokens.
    #[arg(long)]
    speculative: bool,
}

/// Below this gap between the two likeliest tokens the reference's choice is a coin toss.
const NEAR_TIE: f64 = 1e-3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let split = TestSplit::open(&arguments.data)?;
    let blip2 = Blip2Pipeline::from_pretrained(&arguments.model)?;
    let answers = split.ask(&blip2, arguments.batch)?;
    let (right, all) = (split.right(&answers), answers.len());
    println!(
        "{right} of {all} answers are right: {:.2} %",
        100.0 * right as f64 / all as f64
    );

    if arguments.speculative {
        let ahead = Blip2Pipeline::builder(&arguments.model).speculative(true);
        compare(&answers, &split.ask(&ahead.load()?, 1)?)?;
    }
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
        if found.text == *expected {
            equal += 1;
        } else {
            println!(
                "question {n}: `{}`, the reference says `{expected}` (gap {gap})",
                found.text
            );
        }
    }
    println!("{equal} of {compared} answers are the reference's; {ties} near ties left out");
    if equal == compared {
        Ok(())
    } else {
        Err("the answers differ from the reference's".into())
    }
}

/// Compares answers with those of speculative decoding, token for token.
fn compare(plain: &[Answer], ahead: &[Answer]) -> Result<(), Box<dyn Error>> {
    let both = plain.iter().zip(ahead);
    let equal = both.filter(|(a, b)| a.tokens == b.tokens).count();
    let sum = |of: fn(&Answer) -> Option<usize>| ahead.iter().filter_map(of).sum::<usize>();
    let drafted = sum(|answer| answer.timings.drafted);
    let accepted = sum(|answer| answer.timings.accepted);
    println!(
        "{equal} of {} answers are the same by speculative decoding, for which {accepted} of {drafted} \
         tokens written ahead held",
        plain.len()
    );
    match equal == plain.len() && equal == ahead.len() {
        true => Ok(()),
        false => Err("speculative answers differ from plain ones".into()),
    }
}
