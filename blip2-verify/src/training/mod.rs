//! The first steps of a training against those of `transformers` and PyTorch's AdamW: losses,
//! gradients, their norms, and what the parameters are afterwards.

mod course;
mod judge;
mod recipe;
mod shaken;
mod start;

use std::path::Path;

use blip2_core::{CheckpointFolder, ModelKind};
use blip2_train::TrainError;

use crate::{error::VerifyError, golden::Golden, options::VerifyOptions, report::Report};
use course::Course;
use judge::judge;
use recipe::Recipe;
use shaken::shaken;
use start::{batch, training};

pub(crate) fn verify(
    folder: &Path,
    checkpoint: &str,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    // What they say is said by the numbers, too.
    for key in [
        "eps",
        "lora",
        "mode",
        "no_grad_params",
        "torch",
        "weight_decay_on",
    ] {
        golden.json(key);
    }
    let base = folder.join("../..").join(checkpoint);
    let base = CheckpointFolder::open(base).map_err(TrainError::from)?;
    let kind = base.kind().map_err(TrainError::from)?;
    let batch = batch(&Golden::open(base.path())?, options)?;
    let recipe = Recipe::of(golden)?;
    let run = |batch| {
        let training = training(&base, golden, options)?;
        match kind {
            ModelKind::BlipAnswer => Course::run(training.load_blip1_answerer()?, batch, &recipe),
            ModelKind::BlipCaption => Course::run(training.load_blip1_captioner()?, batch, &recipe),
            _ => Course::run(training.load()?, batch, &recipe),
        }
    };
    let (found, beside) = (run(&batch)?, run(&shaken(&batch))?);
    judge(&found, &beside, golden, &recipe, options, report)
}
