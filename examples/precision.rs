//! What each precision costs in answers: all test questions of the easy-VQA data set, answered with
//! the weights held in each, against `f32`.
//!
//! The data is that of the example `easy_vqa`:
//!
//! ```sh
//! cargo run --release --example precision -- easy-vqa/easy_vqa/data
//! ```
//!
//! On another device with `--device`, of those that the example is built for; its answers are compared with those of
//! the CPU in `f32`:
//!
//! ```sh
//! cargo run --release --example precision --features blip2-core/wgpu -- easy-vqa/easy_vqa/data --device wgpu
//! ```

#![allow(clippy::print_stdout)]

use std::{error::Error, path::PathBuf, time::Instant};

#[path = "support/easy_vqa_data.rs"]
mod easy_vqa_data;

use blip2_core::{Answer, Blip2Pipeline, Precision, device_by_name};
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
    /// The device that answers.
    #[arg(long, default_value = CPU)]
    device: String,
    /// How many of the questions are asked, the first; all by default.
    #[arg(long)]
    questions: Option<usize>,
    /// The precisions that are compared with `f32` on the CPU.
    #[arg(long, value_delimiter = ',', default_value = "bf16,f16,int8,int4")]
    precisions: Vec<Precision>,
}

/// What others are compared with is answered here.
const CPU: &str = "flex";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut split = TestSplit::open(&arguments.data)?;
    split.keep(arguments.questions.unwrap_or(usize::MAX));
    let own = arguments.device.as_str();
    let others = arguments.precisions.iter().map(|&other| (own, other));
    println!(
        "device, precision   right   equal to {CPU} f32   log-probability off by (mean, largest)   time"
    );
    let mut exact: Option<Vec<Answer>> = None;
    for (device, precision) in [(CPU, Precision::F32)].into_iter().chain(others) {
        let start = Instant::now();
        let blip2 = Blip2Pipeline::builder(&arguments.model)
            .device(device_by_name(device)?)
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
            "{device} {:<5} {:6.2} %   {equal} of {} ({:.2} %)   {mean:.1e}, {largest:.1e}   {:.0?}",
            precision.to_string(),
            100.0 * split.right(&answers) as f64 / answers.len().max(1) as f64,
            answers.len(),
            100.0 * equal as f64 / answers.len().max(1) as f64,
            start.elapsed(),
        );
    }
    Ok(())
}
