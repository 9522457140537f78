//! Ranks the thirteen answers that the easy-VQA data set has, and asks its questions of yes and no
//! for a `bool`, beside letting the model write what it likes.
//!
//! The data is the folder `easy_vqa/data` of the package `easy-vqa` 1.0 on PyPI:
//!
//! ```sh
//! pip download --no-deps easy-vqa==1.0 && python -m zipfile -e easy_vqa-1.0-*.whl easy-vqa
//! cargo run --release --example given_answers -- easy-vqa/easy_vqa/data
//! ```

#![allow(clippy::print_stdout)]

use std::{collections::BTreeSet, error::Error, path::PathBuf};

#[path = "support/easy_vqa_data.rs"]
mod easy_vqa_data;

use blip2_core::{Blip2Pipeline, Options, RankOptions};
use clap::Parser;
use easy_vqa_data::{TEMPLATE, TestSplit};

#[derive(Parser)]
struct Arguments {
    /// The folder `easy_vqa/data` of the package.
    data: PathBuf,
    /// The checkpoint.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/easy-vqa-opt"))]
    model: PathBuf,
    /// Questions answered together.
    #[arg(long, default_value_t = 16)]
    batch: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { data, model, batch } = Arguments::parse();
    let split = TestSplit::open(&data)?;
    let blip2 = Blip2Pipeline::from_pretrained(model)?;
    let percent = |part: usize, all: usize| 100.0 * part as f64 / all.max(1) as f64;

    let answers = split.ask(&blip2, 4 * batch)?;
    let all = answers.len();
    let free = split.right(&answers);
    println!(
        "written freely: {free} of {all} right, {:.2} %",
        percent(free, all)
    );

    let candidates: Vec<&str> = BTreeSet::from_iter(split.right_answers())
        .into_iter()
        .collect();
    let questions: Vec<usize> = (0..all).collect();
    let options = RankOptions::default().with_template(TEMPLATE.parse()?);
    let ranked = split.batches(&questions, batch, |pairs| {
        Ok(blip2.rank_batch(pairs, &candidates, &options)?)
    })?;
    let best = ranked.iter().filter_map(|ranked| ranked.first());
    let right = split.count_right(best.map(|best| best.text.as_str()));
    println!(
        "best of {} answers: {right} of {all} right, {:.2} %",
        candidates.len(),
        percent(right, all)
    );

    let is_yes_no = |(_, right): &(usize, &str)| ["yes", "no"].contains(right);
    let questions = split.right_answers().enumerate().filter(is_yes_no);
    let questions: Vec<usize> = questions.map(|(number, _)| number).collect();
    let options = Options::default().with_template(TEMPLATE.parse()?);
    let typed = split.batches(&questions, 4 * batch, |pairs| {
        Ok(blip2.answer_as_batch::<bool, _, _>(pairs, &options)?)
    })?;
    let (mut said, mut agree) = (0, 0);
    for (&number, typed) in questions.iter().zip(&typed) {
        let word = if typed.value { "yes" } else { "no" };
        let free = answers[number].text.as_str();
        if ["yes", "no"].contains(&free) {
            said += 1;
            agree += usize::from(free == word);
        }
    }
    println!(
        "of {} questions of yes or no, {} were answered with a bool; of {said} free answers that \
         are yes or no, {agree} agree",
        questions.len(),
        typed.len()
    );
    Ok(())
}
