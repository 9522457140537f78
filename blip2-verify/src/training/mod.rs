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
    for key in ["lora", "mode", "torch"] {
        golden.json(key);
    }
    let base = folder.join("../..").join(checkpoint);
    let base = CheckpointFolder::open(base).map_err(TrainError::from)?;
    let kind = base.kind().map_err(TrainError::from)?;
    let batch = batch(&Golden::open(base.path())?, options)?;
    check_decay(golden)?;
    let mut recipe = Recipe::of(golden)?;
    if recipe.smoothing == 0.0 && matches!(kind, ModelKind::BlipAnswer | ModelKind::BlipCaption) {
        // The reference's is the checkpoint's, where the golden was not made with another.
        let config = base.blip_config().map_err(TrainError::from)?;
        recipe.smoothing = config.text_config.label_smoothing;
    }
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

/// Refuses a decay of other parameters than all that are trained.
fn check_decay(golden: &Golden) -> Result<(), VerifyError> {
    const ALL: &str = "all trained params";
    match golden.json("weight_decay_on").map(|on| on.as_str()) {
        None | Some(Some(ALL)) => Ok(()),
        Some(_) => {
            let detail = format!("`weight_decay_on` is something else than \"{ALL}\"");
            Err(VerifyError::golden(detail))
        }
    }
}
