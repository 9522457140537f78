//! A generation checkpoint against its goldens, stage by stage in the order of the data.

use std::path::Path;

use blip2_core::{
    Blip2Error, Blip2Pipeline, Precision, PrecisionPlan, TextConfig,
    model::{Blip2ForConditionalGeneration, ImageFeatures},
};
use blip2_lm::{Keep, LanguageModel};
use blip2_vision::VisionOptions;
use burn::tensor::Tensor;
use serde_json::Value;

use crate::{
    compare::Compare,
    error::VerifyError,
    facts::checkpoint_keys,
    golden::Golden,
    loss::cross_entropy,
    options::VerifyOptions,
    prompts,
    report::{Outcome, Report},
    rows::{frames, pixels, rows, unsigned},
    verifier::Verifier,
};

/// What the reference recorded about itself, which is nothing to compare.
const RECORDS: [&str; 8] = [
    "_meta",
    "attempt",
    "bf16.dtypes",
    "f16.dtypes",
    "labels_short_batch2_error",
    "logits_abs_max",
    "logits_max_abs_err_vs_f64",
    "px_images",
];

pub(crate) fn verify(
    folder: &Path,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let load = |precision: PrecisionPlan| {
        let builder = Blip2Pipeline::builder(folder).device(options.device.clone());
        builder.precision(precision).load()
    };
    let pipeline = load(options.precision)?;
    let draft = match options.speculative {
        true => Some(load(Precision::Int4.into())?),
        false => None,
    };
    for key in RECORDS {
        golden.json(key);
    }
    for key in ["bf16.logits", "f16.logits"] {
        if golden.tensor(key).is_some() {
            report.skip(key, "the reference's own rounding in another precision");
        }
    }
    let error = golden
        .json("logits_max_abs_err_vs_f64")
        .and_then(Value::as_f64)
        .unwrap_or(0.0);
    let mut verifier = Verifier {
        pipeline: &pipeline,
        draft: draft.as_ref(),
        golden,
        report,
        tolerance: options.base().at_least(error),
        scores: options.scores,
    };
    verifier.facts(folder)?;
    prompts::verify(&mut verifier, folder)?;
    let Some(pixel_values) = golden.tensor("pixel_values") else {
        return Err(VerifyError::golden(
            "there are no pixel_values to start from",
        ));
    };
    pixels(&mut verifier, folder, pixel_values, pipeline.processor())?;
    let pixel_values = frames(pixel_values).tensor(pipeline.device())?;
    let Some(image_embeds) = verifier.vision(pixel_values)? else {
        return Ok(());
    };
    let Some(features) = verifier.qformer(image_embeds)? else {
        return Ok(());
    };
    verifier.language_model(&features)?;
    verifier.generations(&features)
}

impl Verifier<'_> {
    /// What the checkpoint itself must say.
    fn facts(&mut self, folder: &Path) -> Result<(), VerifyError> {
        checkpoint_keys(self, folder)?;
        if let (Some(expected), TextConfig::T5(config)) = (
            self.golden
                .json("scale_decoder_outputs")
                .and_then(Value::as_bool),
            &self.pipeline.config().text_config,
        ) {
            let outcome = Outcome::equal(&config.scale_decoder_outputs, &expected);
            self.report.push("scale_decoder_outputs", outcome);
        }
        Ok(())
    }

    fn vision(&mut self, pixel_values: Tensor<4>) -> Result<Option<Tensor<3>>, VerifyError> {
        let options = VisionOptions::default().with_keep(Keep::HIDDEN_STATES);
        let output = self.model().vision_model().forward(pixel_values, &options);
        let Some(output) = self.run("vision", output.map_err(Blip2Error::from)) else {
            return Ok(None);
        };
        self.series("vision.hidden", output.hidden_states);
        self.tensor("vision.last_hidden_state", output.last_hidden_state.clone());
        let pooled = self
            .model()
            .vision_model()
            .pool(output.last_hidden_state.clone());
        self.tensor("vision.pooler_output", pooled);
        if let Some(pixel_values) = self.golden.tensor("vision.interp.pixel_values") {
            let pixel_values = pixel_values.tensor(self.pipeline.device())?;
            let options = VisionOptions::default().with_interpolate_pos_encoding(true);
            let other = self.model().vision_model().forward(pixel_values, &options);
            if let Some(other) = self.run("vision.interp", other.map_err(Blip2Error::from)) {
                self.tensor("vision.interp.last_hidden_state", other.last_hidden_state);
            }
        }
        Ok(Some(output.last_hidden_state))
    }

    fn qformer(&mut self, image_embeds: Tensor<3>) -> Result<Option<ImageFeatures>, VerifyError> {
        let model = self.model();
        let input = if model.reads_instructions() {
            let rows = rows(self.golden, "qformer_input_ids", "qformer_attention_mask")?;
            let missing = || VerifyError::golden("there are no qformer_input_ids to read");
            model.instructed_input(image_embeds, &rows.ok_or_else(missing)?)
        } else {
            Ok(model.query_input(image_embeds))
        };
        let output = input.and_then(|input| Ok(model.qformer().forward(input.keep(Keep::ALL))?));
        let Some(output) = self.run("qformer", output) else {
            return Ok(None);
        };
        self.series("qformer.hidden", output.hidden_states);
        // The reference lists every map in the order of computing, cross-attention's among them.
        let crosses: Vec<_> = output.cross_attentions.iter().flatten().cloned().collect();
        let maps = output
            .attentions
            .into_iter()
            .zip(output.cross_attentions)
            .flat_map(|(own, cross)| std::iter::once(own).chain(cross));
        self.series("qformer.self_attn", maps.collect());
        self.series("qformer.cross_attn", crosses);
        let last = output.last_hidden_state;
        let [batch, _, width] = last.dims();
        let pooled = last.clone().narrow(1, 0, 1).reshape([batch, width]);
        self.tensor("qformer.last_hidden_state", last.clone());
        self.tensor("qformer.pooler_output", pooled);
        let features = self.model().project(last);
        self.tensor("language_projection", features.tensor());
        Ok(Some(features))
    }

    fn language_model(&mut self, features: &ImageFeatures) -> Result<(), VerifyError> {
        let Some(rows) = self.rows()? else {
            return Ok(());
        };
        let embeds = self.model().inputs_embeds(features, &rows);
        let Some((embeds, mask)) = self.run("lm.inputs_embeds", embeds) else {
            return Ok(());
        };
        self.tensor("lm.inputs_embeds", embeds.clone());
        self.answers("", embeds, &mask)?;

        // As checkpoints without placeholders read it.
        let queries = self.model().num_query_tokens();
        let text: Vec<Vec<u32>> = rows
            .ids()
            .iter()
            .map(|ids| ids.iter().skip(queries).copied().collect())
            .collect();
        let mask: Vec<Vec<bool>> = rows
            .mask()
            .iter()
            .map(|mask| mask.iter().skip(queries).copied().collect())
            .collect();
        if !self
            .golden
            .tensor_keys()
            .any(|key| key.starts_with("legacy."))
        {
            return Ok(());
        }
        let text = self
            .model()
            .language_model()
            .embed(&text)
            .map_err(Blip2Error::from);
        if let Some(text) = self.run("legacy", text) {
            let (embeds, mask) = Blip2ForConditionalGeneration::concatenate(features, text, &mask);
            self.answers("legacy.", embeds, &mask)?;
        }
        Ok(())
    }

    /// Hidden states, logits and losses for embedded prompts.
    fn answers(
        &mut self,
        prefix: &str,
        embeds: Tensor<3>,
        mask: &[Vec<bool>],
    ) -> Result<(), VerifyError> {
        let pipeline = self.pipeline;
        match pipeline.model().language_model() {
            LanguageModel::Decoder(model) => {
                // These goldens are of `forward`, whose positions may not be those of `generate`.
                let output = model.forward_without_position_ids(embeds, mask, Keep::ALL);
                let key = format!("{prefix}logits");
                let Some(output) = self.run(&key, output.map_err(Blip2Error::from)) else {
                    return Ok(());
                };
                if prefix.is_empty() {
                    self.series("lm.hidden", output.hidden_states);
                    self.causal_losses(&output.logits)?;
                }
                self.tensor(&key, output.logits);
            }
            LanguageModel::T5(model) => {
                let encoded = model
                    .encode(embeds, mask, Keep::ALL)
                    .map_err(Blip2Error::from);
                let Some(encoded) = self.run("lm.encoder", encoded) else {
                    return Ok(());
                };
                if prefix.is_empty() {
                    self.series("lm.encoder_hidden", encoded.hidden_states.clone());
                    let last = encoded.last_hidden_state.clone();
                    self.tensor("lm.encoder_last_hidden_state", last);
                }
                // Where only one of the two logits was recorded, they follow the given ids.
                let given = "logits_decoder_input_ids";
                let both = self.golden.tensor(given).is_some();
                if let Some(ids) = self.golden.tensor("decoder_input_ids") {
                    let ids = unsigned(&ids.rows()?, 0);
                    let key = format!("{prefix}{}", if both { given } else { "logits" });
                    let logits = model.decode(&encoded, &ids).map_err(Blip2Error::from);
                    if let Some(logits) = self.run(&key, logits) {
                        self.tensor(&key, logits);
                    }
                }
                if let (true, Some(labels)) = (prefix.is_empty(), self.golden.tensor("labels")) {
                    let labels = labels.rows()?;
                    let text = &self.pipeline.config().text_config;
                    let start = text.decoder_start_token_id().unwrap_or_default();
                    let pad = text.pad_token_id().unwrap_or_default();
                    let shifted: Vec<Vec<u32>> = unsigned(&labels, pad)
                        .into_iter()
                        .map(|row| {
                            let kept = row.len().saturating_sub(1);
                            std::iter::once(start)
                                .chain(row.into_iter().take(kept))
                                .collect()
                        })
                        .collect();
                    let logits = model.decode(&encoded, &shifted).map_err(Blip2Error::from);
                    if let Some(logits) = self.run("logits", logits) {
                        self.loss("loss", logits.clone(), &labels);
                        if both {
                            self.tensor("logits", logits);
                        }
                    }
                }
            }
            _ => self.report.skip("logits", "an unknown language model"),
        }
        Ok(())
    }

    /// Each position's logits against the next label; labels shorter than the sequence belong to
    /// its end.
    fn causal_losses(&mut self, logits: &Tensor<3>) -> Result<(), VerifyError> {
        let [batch, seq, _] = logits.dims();
        if let Some(labels) = self.golden.tensor("labels") {
            let next: Vec<Vec<i64>> = labels
                .rows()?
                .into_iter()
                .map(|row| row.into_iter().skip(1).collect())
                .collect();
            self.loss("loss", logits.clone().narrow(1, 0, seq - 1), &next);
        }
        if let Some(labels) = self.golden.tensor("labels_short")
            && batch > 1
        {
            let labels = labels.rows()?;
            let length = labels.first().map_or(0, Vec::len);
            let end = logits
                .clone()
                .narrow(0, 1, 1)
                .narrow(1, seq - length, length);
            let next: Vec<Vec<i64>> = labels
                .get(1)
                .map(|row| row.iter().skip(1).copied().collect())
                .into_iter()
                .collect();
            self.loss(
                "loss_short_row1",
                end.clone().narrow(1, 0, length - 1),
                &next,
            );
            self.tensor("logits_short_row1", end);
        }
        Ok(())
    }

    fn loss(&mut self, key: &str, logits: Tensor<3>, labels: &[Vec<i64>]) {
        if let Some(golden) = self.golden.tensor(key) {
            let outcome = match cross_entropy(logits, labels) {
                Ok(loss) => self.tolerance.compare(&[], &[loss], golden),
                Err(error) => Outcome::Failed { error },
            };
            self.report.push(key, outcome);
        }
    }
}
