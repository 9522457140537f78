//! Image-text retrieval against its goldens: the whole model, and both halves alone.

use std::path::Path;

use blip2_core::{
    Blip2Error, Blip2Retrieval, PrecisionPlan, TextRows,
    model::{
        Blip2TextModelWithProjection, Blip2VisionModelWithProjection, PaddingSide, PromptRows,
    },
};
use blip2_io::{Checkpoint, CheckpointFolder, CheckpointWeights, IoError, config::Blip2Config};
use blip2_kernels::{Keep, Precision, Weights};
use burn::tensor::{Tensor, activation::softmax};
use serde_json::Value;

use crate::{
    compare::{Compare, Comparison},
    error::VerifyError,
    golden::Golden,
    ids,
    options::VerifyOptions,
    report::{Outcome, Report},
    rows::{pixels, rows},
};

pub(crate) fn verify(
    folder: &Path,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let blip2 = Blip2Retrieval::builder(folder)
        .device(options.device.clone())
        .precision(
            PrecisionPlan::default()
                .with_vision(options.precision.vision)
                .with_language_model(Precision::AsStored),
        )
        .load()?;
    golden.json("_meta");
    let mut comparison = Comparison::new(golden, report, options.base());
    let texts = texts(&mut comparison, folder, &blip2)?;
    let Some(values) = golden.tensor("pixel_values") else {
        return Err(VerifyError::golden(
            "there are no pixel_values to start from",
        ));
    };
    pixels(&mut comparison, folder, values, blip2.processor())?;
    let pixel_values = values.tensor(blip2.device())?;
    whole(&mut comparison, &blip2, pixel_values.clone(), &texts);
    halves(&mut comparison, folder, options, pixel_values)
}

/// How texts become rows: the layout of `Blip2Processor`.
fn texts(
    comparison: &mut Comparison<'_>,
    folder: &Path,
    blip2: &Blip2Retrieval,
) -> Result<PromptRows, VerifyError> {
    let golden = comparison.golden();
    let Some(expected) = rows(golden, "input_ids", "attention_mask")? else {
        return Err(VerifyError::golden("there are no input_ids to compare"));
    };
    let texts: Option<Vec<String>> = golden.json("texts").and_then(Value::as_array).map(|texts| {
        let texts = texts.iter().filter_map(Value::as_str);
        texts.map(str::to_string).collect()
    });
    let placeholders = golden.json("uses_image_tokens").and_then(Value::as_bool);
    if let Some(texts) = texts {
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let outcome = match laid_out(folder, blip2.config(), &texts) {
            Ok(found) => ids::compare(&found, &expected),
            Err(error) => Outcome::failed(error),
        };
        comparison.report().push("input_ids", outcome);
    }
    if let Some(expected) = placeholders {
        let found = blip2.config().image_token_index.is_some();
        let outcome = Outcome::equal(&found, &expected);
        comparison.report().push("uses_image_tokens", outcome);
    }
    Ok(blip2.model().without_placeholders(&expected)?)
}

/// The rows of texts, with the placeholders that the reference's processor puts before them.
fn laid_out(folder: &Path, config: &Blip2Config, texts: &[&str]) -> Result<PromptRows, Blip2Error> {
    let bare = TextRows::of(&CheckpointFolder::open(folder)?)?.rows(texts)?;
    let pad = config.qformer_config.pad_token_id.unwrap_or_default();
    let (token, count) = (config.image_token_index, config.num_query_tokens);
    PromptRows::lay_out(&bare.unpadded(), token, count, pad, PaddingSide::Right)
}

/// Contrast and matching.
fn whole(
    comparison: &mut Comparison<'_>,
    blip2: &Blip2Retrieval,
    pixel_values: Tensor<4>,
    texts: &PromptRows,
) {
    let model = blip2.model();
    let images = model.encode_images(pixel_values);
    let Some(images) = comparison.run("vision", images) else {
        return;
    };
    comparison.tensor("vision.last_hidden_state", images.tensor());

    let projected = model.project_images(&images);
    let encoded = model.encode_texts(texts);
    if let (Some(projected), Some(encoded)) = (
        comparison.run("itc.image_embeds", projected),
        comparison.run("itc.text_embeds", encoded),
    ) {
        comparison.tensor("itc.image_embeds", projected.tensor());
        comparison.tensor("itc.text_last_hidden_state", encoded.tensor());
        let embedded = model.project_texts(&encoded);
        comparison.tensor("itc.text_embeds", embedded.tensor());
        let similarity = projected.similarity(&embedded);
        comparison.tensor("itc.logits_per_image", similarity.clone());
        comparison.tensor("itc.logits_per_text", similarity.transpose());
    }

    let fused = model.fuse(&images, texts);
    if let Some(fused) = comparison.run("itm", fused) {
        comparison.tensor("itm.text_last_hidden_state", fused.clone());
        let logits = model.match_logits(fused);
        comparison.tensor("itm.logits_per_image", logits.clone());
        comparison.tensor("itm.probs", softmax(logits, 1));
    }
}

/// The two models with projection, each loaded by itself from the same checkpoint.
fn halves(
    comparison: &mut Comparison<'_>,
    folder: &Path,
    options: &VerifyOptions,
    pixel_values: Tensor<4>,
) -> Result<(), VerifyError> {
    let folder = CheckpointFolder::open(folder).map_err(Blip2Error::from)?;
    let config = folder.config().map_err(Blip2Error::from)?;
    let checkpoint = folder.checkpoint().map_err(Blip2Error::from)?;
    let golden = comparison.golden();
    let texts = rows(golden, "text_proj.input_ids", "text_proj.attention_mask")?;

    let source = CheckpointWeights::new(&checkpoint);
    let weights = Weights::new(&source, &options.device).with_precision(options.precision.vision);
    let vision = Blip2VisionModelWithProjection::load(&config, &weights);
    missing(comparison, "vision_model_missing_keys", &source);
    let vision = vision?;
    let images = vision.encode(pixel_values).and_then(|images| {
        let projected = vision.project(&images)?;
        Ok((images, projected))
    });
    if let Some((images, projected)) = comparison.run("vision_proj", images) {
        comparison.tensor("vision_proj.last_hidden_state", images.tensor());
        comparison.tensor("vision_proj.image_embeds", projected.tensor());
    }
    match texts {
        Some(texts) => text_half(comparison, &checkpoint, &config, options, &texts),
        None => Ok(()),
    }
}

fn text_half(
    comparison: &mut Comparison<'_>,
    checkpoint: &Checkpoint,
    config: &Blip2Config,
    options: &VerifyOptions,
    texts: &PromptRows,
) -> Result<(), VerifyError> {
    let source = CheckpointWeights::new(checkpoint);
    let weights = Weights::new(&source, &options.device).with_precision(options.precision.vision);
    let text = Blip2TextModelWithProjection::load(config, &weights);
    missing(comparison, "text_model_missing_keys", &source);
    let text = text?;
    let output = text.input(texts).and_then(|input| {
        let output = text.qformer().forward(input.keep(Keep::ALL))?;
        Ok((output.hidden_states, text.encode(texts)?))
    });
    if let Some((hidden_states, encoded)) = comparison.run("text_proj", output) {
        comparison.series("text_proj.hidden", hidden_states);
        comparison.tensor("text_proj.last_hidden_state", encoded.tensor());
        comparison.tensor("text_proj.text_embeds", text.project_tokens(&encoded));
    }
    Ok(())
}

/// What a half found missing in the whole's checkpoint.
fn missing(comparison: &mut Comparison<'_>, key: &str, source: &CheckpointWeights<'_>) {
    let Some(expected) = comparison.golden().json(key).cloned() else {
        return;
    };
    let found: Vec<String> = match source.finish(&[]) {
        Ok(_) => Vec::new(),
        Err(IoError::Weights { report, .. }) => {
            report.missing.into_iter().map(|m| m.name).collect()
        }
        Err(error) => vec![error.to_string()],
    };
    comparison
        .report()
        .push(key, Outcome::equal(&serde_json::json!(found), &expected));
}
