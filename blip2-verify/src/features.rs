//! `Blip2Model`'s features against their goldens, which lie apart from the checkpoint they were
//! made with.

use std::path::Path;

use blip2_core::Blip2Pipeline;
use blip2_lm::{Keep, LanguageModel};
use blip2_vision::VisionOptions;
use serde_json::Value;

use crate::{
    compare::Compare,
    error::VerifyError,
    golden::Golden,
    options::VerifyOptions,
    report::Report,
    rows::{pixels, rows, unsigned},
    verifier::Verifier,
};

pub(crate) fn verify(
    folder: &Path,
    checkpoint: &str,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let pipeline = Blip2Pipeline::builder(folder.join(checkpoint))
        .device(options.device.clone())
        .precision(options.precision)
        .load()?;
    golden.json("_meta");
    let error = golden
        .json("logits_max_abs_err_vs_f64")
        .and_then(Value::as_f64);
    let mut verifier = Verifier {
        pipeline: &pipeline,
        draft: None,
        golden,
        report,
        tolerance: options.base().at_least(error.unwrap_or(0.0)),
        scores: options.scores,
    };
    let Some(pixel_values) = golden.tensor("pixel_values") else {
        return Err(VerifyError::golden(
            "there are no pixel_values to start from",
        ));
    };
    pixels(&mut verifier, folder, pixel_values, pipeline.processor())?;
    let pixel_values = pixel_values.tensor(pipeline.device())?;
    let (model, usual) = (pipeline.model(), VisionOptions::default());

    let image = model.image_features(pixel_values.clone(), &usual);
    if let Some(image) = verifier.run("image_features", image) {
        verifier.tensor("image_features.last_hidden_state", image.last_hidden_state);
        verifier.tensor("image_features.pooler_output", image.pooler_output);
    }
    let queries = model.qformer_features(pixel_values.clone(), &usual);
    if let Some(queries) = verifier.run("qformer_features", queries) {
        verifier.tensor("qformer_features", queries);
    }
    if let Some(texts) = rows(golden, "text_ids", "text_mask")? {
        let texts = model.text_features(&texts);
        if let Some(texts) = verifier.run("text_features", texts) {
            verifier.tensor("text_features.last_hidden_state", texts);
        }
    }
    let Some(prompts) = verifier.rows()? else {
        return Ok(());
    };
    let embeds = model
        .encode_image(pixel_values)
        .and_then(|image| model.query(image))
        .and_then(|features| model.inputs_embeds(&features, &prompts));
    let Some((embeds, mask)) = verifier.run("logits", embeds) else {
        return Ok(());
    };
    let logits = match (model.language_model(), golden.tensor("decoder_input_ids")) {
        (LanguageModel::Decoder(model), _) => model
            .forward_without_position_ids(embeds, &mask, Keep::NOTHING)
            .map(|output| output.logits),
        (LanguageModel::T5(model), Some(ids)) => {
            let ids = unsigned(&ids.rows()?, 0);
            model
                .forward(embeds, &mask, &ids, Keep::NOTHING)
                .map(|output| output.logits)
        }
        _ => {
            let reason = "the language model is unknown, or decoder_input_ids are missing";
            verifier.report.skip("logits", reason);
            return Ok(());
        }
    };
    if let Some(logits) = verifier.run("logits", logits) {
        verifier.tensor("logits", logits);
    }
    Ok(())
}
