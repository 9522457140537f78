//! Granite Speech against its goldens: from samples to logits, and every generation.

mod hearing;
mod sounds;

use std::path::Path;

use blip2_core::{Precision, PrecisionPlan, speech::SpeechPipeline};
use serde_json::Value;

use crate::{
    compare::Comparison, error::VerifyError, facts::checkpoint_keys, golden::Golden,
    options::VerifyOptions, report::Report,
};
use hearing::Hearing;

/// What the reference recorded about itself, which is nothing to compare.
const RECORDS: [&str; 2] = ["_meta", "logits_abs_max"];

pub(crate) fn verify(
    folder: &Path,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let load = |precision: PrecisionPlan| {
        let builder = SpeechPipeline::builder(folder).device(options.device.clone());
        builder.precision(precision).load()
    };
    let speech = load(options.precision)?;
    let draft = match options.speculative {
        true => Some(load(Precision::Int4.into())?),
        false => None,
    };
    for key in RECORDS {
        golden.json(key);
    }
    let error = golden
        .json("logits_max_abs_err_vs_f64")
        .and_then(Value::as_f64);
    let tolerance = options.base().at_least(error.unwrap_or(0.0));
    let mut comparison = Comparison::new(golden, report, tolerance);
    checkpoint_keys(&mut comparison, folder)?;
    let sizes = sounds::verify(&mut comparison, golden, folder, &speech)?;
    let mut hearing = Hearing {
        comparison,
        speech: &speech,
        draft: draft.as_ref(),
        golden,
        scores: options.scores,
    };
    hearing.prompts(&sizes)?;
    hearing.together(&sizes)?;
    hearing.single()?;
    hearing.text_alone()
}
