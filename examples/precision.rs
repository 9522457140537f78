//! What each precision costs in answers: all test questions of the easy-VQA data set, answered with
//! the weights held in each, against `f32`.
//!
//! The data is that of the example `easy_vqa`:
//!
//! ```sh
//! cargo run --release --example precision -- easy-vqa/easy_vqa/data
//! ```

#![allow(clippy::print_stdout)]

use std::{error::Error, path::PathBuf};

#[path = "support/easy_vqa_data.rs"]
mod easy_vqa_data;

use blip2_core::{Answer, Blip2Pipeline, Precision};
use clap::Parser;
use easy_vqa_data::TestSplit;

#[derive(Parser)]
struct Arguments {
    /// The folder `easy_vqa/data` of the package.
    data: PathBuf,
    /// The checkpoint.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/easy-vqa-opt"))]
    model: PathBuf,
    /// Questions answered together.
    #[arg(long, default_value_t = 64)]
    batch: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let split = TestSplit::open(&arguments.data)?;
    println!("precision   right   equal to f32   log-probability off by (mean, largest)");
    let mut exact: Option<Vec<Answer>> = None;
    for precision in [
        Precision::F32,
        Precision::Bf16,
        Precision::F16,
        Precision::Int8,
        Precision::Int4,
    ] {
        let blip2 = Blip2Pipeline::builder(&arguments.model)
            .precision(precision)
            .load()?;
        let answers = split.ask(&blip2, arguments.batch)?;
        let exact = exact.get_or_insert_with(|| answers.clone());
        let pairs = || answers.iter().zip(exact.iter());
        let equal = pairs().filter(|(a, b)| a.text == b.text).count();
        // Of the first token, before which both have seen the same.
        let distances: Vec<f32> = pairs()
            .filter_map(|(a, b)| a.tokens.first().zip(b.tokens.first()))
            .filter(|(a, b)| a.id == b.id)
            .map(|(a, b)| (a.log_prob - b.log_prob).abs())
            .collect();
        let mean = distances.iter().sum::<f32>() / distances.len().max(1) as f32;
        let largest = distances.iter().copied().fold(0.0, f32::max);
        println!(
            "{:<9} {:6.2} %   {equal} of {} ({:.2} %)   {mean:.1e}, {largest:.1e}",
            precision.to_string(),
            100.0 * split.right(&answers) as f64 / answers.len().max(1) as f64,
            answers.len(),
            100.0 * equal as f64 / answers.len().max(1) as f64,
        );
    }
    Ok(())
}
