//! BLIP-1 against its goldens.

use std::path::Path;

use blip2_core::{
    Blip2Error, BlipAnswerer, BlipCaptioner, BlipRetrieval, Builder, Member,
    model::{
        BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering,
        PromptRows,
    },
};
use blip2_io::{
    Tokenizer,
    config::{BlipConfig, ModelKind},
};
use blip2_kernels::Keep;
use blip2_lm::{
    blip_text::BlipTextSession,
    generate::{GenerationConfig, Generator},
};
use blip2_vision::{VisionModel, VisionOptions};
use burn::tensor::Tensor;
use serde_json::Value;

use crate::{
    case::Case,
    compare::{Compare, Comparison},
    error::VerifyError,
    golden::Golden,
    loss::cross_entropy,
    options::VerifyOptions,
    report::{Outcome, Report},
    rows::{rows, unsigned},
};

pub(crate) fn verify(
    folder: &Path,
    kind: ModelKind,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    for key in ["_meta", "attempt", "px_images"] {
        golden.json(key);
    }
    let pixel_values = golden
        .tensor("pixel_values")
        .ok_or_else(|| VerifyError::golden("there are no pixel_values to start from"))?
        .tensor(&options.device)?;
    let comparison = Comparison::new(golden, report, options.base());
    match kind {
        ModelKind::BlipCaption => {
            let blip = load(BlipCaptioner::builder(folder), options)?;
            Verifier::new(golden, comparison, blip.config(), blip.tokenizer())
                .caption(blip.model(), pixel_values)
        }
        ModelKind::BlipAnswer => {
            let blip = load(BlipAnswerer::builder(folder), options)?;
            Verifier::new(golden, comparison, blip.config(), blip.tokenizer())
                .answer(blip.model(), pixel_values)
        }
        _ => {
            let blip = load(BlipRetrieval::builder(folder), options)?;
            Verifier::new(golden, comparison, blip.config(), blip.tokenizer())
                .retrieval(blip.model(), pixel_values)
        }
    }
}

fn load<M: Member>(builder: Builder<M>, options: &VerifyOptions) -> Result<M, VerifyError> {
    let builder = builder.device(options.device.clone());
    Ok(builder.precision(options.precision).load()?)
}

struct Verifier<'v> {
    golden: &'v Golden,
    config: &'v BlipConfig,
    comparison: Comparison<'v>,
    tokenizer: &'v Tokenizer,
}

/// Beginnings of texts, as the decoder reads them, and what it writes after them.
struct Beginning {
    rows: PromptRows,
    source: Tensor<3>,
}

impl<'v> Verifier<'v> {
    fn new(
        golden: &'v Golden,
        comparison: Comparison<'v>,
        config: &'v BlipConfig,
        tokenizer: &'v Tokenizer,
    ) -> Self {
        Self {
            golden,
            config,
            comparison,
            tokenizer,
        }
    }

    fn caption(
        mut self,
        model: &BlipForConditionalGeneration,
        pixel_values: Tensor<4>,
    ) -> Result<(), VerifyError> {
        let decoder = model.text_decoder();
        let Some(image) = self.vision(model.vision_model(), pixel_values)? else {
            return Ok(());
        };
        let texts = self.rows("input_ids", "attention_mask")?;
        let seen = self.golden_or("vision.last_hidden_state", &image)?;
        let logits = decoder.forward(texts.ids(), texts.mask(), &seen);
        if let Some(logits) = self.comparison.run("logits", logits) {
            self.comparison.tensor("logits", logits.clone());
            self.loss("loss", "labels", None, logits)?;
        }
        // The reference puts its own first token, and leaves the last one out.
        let begin = |rows: &PromptRows, source: Tensor<3>| -> Result<Beginning, VerifyError> {
            let start = self.config.text_config.bos_token_id.unwrap_or_default();
            let cut = |row: &Vec<u32>| [&[start], &row[1..row.len() - 1]].concat();
            let ids = rows.ids().iter().map(cut).collect();
            let shorter = |row: &Vec<bool>| row[..row.len() - 1].to_vec();
            let mask = rows.mask().iter().map(shorter).collect();
            let rows = PromptRows::new(ids, mask)?;
            Ok(Beginning { rows, source })
        };
        let batch = begin(&texts, image.clone())?;
        let single = self.ids("input_ids_single")?;
        let single = begin(&single, image.clone().narrow(0, 0, 1))?;
        let none = vec![vec![0, 0]; texts.len()];
        let none = PromptRows::new(none, vec![vec![true; 2]; texts.len()])?;
        let none = begin(&none, image)?;
        self.generations(|name, new_tokens| {
            let beginning = match name {
                "unconditional" => &none,
                "batch_padded" => &batch,
                _ => &single,
            };
            let rows = &beginning.rows;
            let source = beginning.source.clone();
            let session = decoder.start(rows.ids(), rows.mask(), source, new_tokens);
            Ok((session.map_err(Blip2Error::from)?, rows.ids().to_vec()))
        })
    }

    fn answer(
        mut self,
        model: &BlipForQuestionAnswering,
        pixel_values: Tensor<4>,
    ) -> Result<(), VerifyError> {
        let (encoder, decoder) = (model.text_encoder(), model.text_decoder());
        let Some(image) = self.vision(model.vision_model(), pixel_values)? else {
            return Ok(());
        };
        let questions = self.rows("input_ids", "attention_mask")?;
        let read = encoder.encode(questions.ids(), questions.mask(), Some(&image));
        let Some(read) = self.comparison.run("question_embeds", read) else {
            return Ok(());
        };
        self.comparison.tensor("question_embeds", read.clone());
        let answers = self.rows("labels", "labels_attention_mask")?;
        let seen = self.golden_or("question_embeds", &read)?;
        let logits = |mask: &[Vec<bool>]| decoder.forward(answers.ids(), mask, &seen);
        if let Some(logits) = self
            .comparison
            .run("decoder_logits", logits(answers.mask()))
        {
            self.comparison.tensor("decoder_logits", logits.clone());
            self.loss("loss_masked", "labels", Some(answers.mask()), logits)?;
        }
        let all: Vec<Vec<bool>> = answers
            .mask()
            .iter()
            .map(|row| vec![true; row.len()])
            .collect();
        if let Some(logits) = self.comparison.run("loss_labels_only", logits(&all)) {
            self.loss("loss_labels_only", "labels", None, logits)?;
        }
        let start = model.decoder_start()?;
        self.generations(|_, new_tokens| {
            let session = model.start(read.clone(), new_tokens)?;
            Ok((session, vec![vec![start]; questions.len()]))
        })
    }

    fn retrieval(
        mut self,
        model: &BlipForImageTextRetrieval,
        pixel_values: Tensor<4>,
    ) -> Result<(), VerifyError> {
        let Some(image) = self.vision(model.vision_model(), pixel_values)? else {
            return Ok(());
        };
        let texts = self.rows("input_ids", "attention_mask")?;
        let encode = |image| {
            model
                .text_encoder()
                .encode(texts.ids(), texts.mask(), image)
        };
        if let Some(read) = self.comparison.run("itm_score", encode(Some(&image))) {
            self.comparison.tensor("question_embeds", read.clone());
            self.comparison
                .tensor("itm_score", model.match_logits(read));
        }
        if let Some(read) = self.comparison.run("itc_score", encode(None)) {
            let (images, texts) = (model.project_images(image), model.project_texts(read));
            self.comparison
                .tensor("itc_score", images.matmul(texts.transpose()));
        }
        Ok(())
    }

    /// Compares the image encoder's stages; returns what it made.
    fn vision(
        &mut self,
        model: &VisionModel,
        pixel_values: Tensor<4>,
    ) -> Result<Option<Tensor<3>>, VerifyError> {
        let device = pixel_values.device();
        let all = VisionOptions::default().with_keep(Keep::HIDDEN_STATES);
        let comparison = &mut self.comparison;
        if let Some(values) = self.golden.tensor("vision.interp.pixel_values") {
            let interpolated = VisionOptions::default().with_interpolate_pos_encoding(true);
            let output = model.forward(values.tensor(&device)?, &interpolated);
            if let Some(output) = comparison.run("vision.interp", output) {
                comparison.tensor("vision.interp.last_hidden_state", output.last_hidden_state);
            }
        }
        let output = model.forward(pixel_values, &all);
        let Some(output) = comparison.run("vision", output) else {
            return Ok(None);
        };
        comparison.series("vision.hidden", output.hidden_states);
        comparison.tensor("vision.last_hidden_state", output.last_hidden_state.clone());
        let pooled = model.pool(output.last_hidden_state.clone());
        comparison.tensor("vision.pooler_output", pooled);
        Ok(Some(output.last_hidden_state))
    }

    /// The mean cross-entropy of each position's logits against the next label.
    fn loss(
        &mut self,
        key: &str,
        labels: &str,
        counts: Option<&[Vec<bool>]>,
        logits: Tensor<3>,
    ) -> Result<(), VerifyError> {
        let Some(labels) = self.golden.tensor(labels) else {
            return Ok(());
        };
        let mut labels = labels.rows()?;
        for (row, counts) in labels.iter_mut().zip(counts.into_iter().flatten()) {
            for (label, counts) in row.iter_mut().zip(counts) {
                if !counts {
                    *label = -100;
                }
            }
        }
        for row in &mut labels {
            row.remove(0);
        }
        let Some(golden) = self.golden.tensor(key) else {
            return Ok(());
        };
        let [_, seq, _] = logits.dims();
        let outcome = match cross_entropy(logits.narrow(1, 0, seq.saturating_sub(1)), &labels) {
            Ok(loss) => self.comparison.tolerance().compare(&[], &[loss], golden),
            Err(error) => Outcome::Failed { error },
        };
        self.comparison.report().push(key, outcome);
        Ok(())
    }

    /// The golden that a stage starts from, so that the stage is checked alone: after all stages
    /// the reference's own `f32` logits are 1.5e-3 from its `f64` ones. The recorded generations
    /// check the whole way.
    fn golden_or(&self, key: &str, found: &Tensor<3>) -> Result<Tensor<3>, VerifyError> {
        match self.golden.tensor(key) {
            Some(golden) => golden.tensor(&found.device()),
            None => Ok(found.clone()),
        }
    }

    /// Replays all recorded generations; `start` starts a decode of n tokens, and says what
    /// stands before them.
    fn generations<'m>(
        &mut self,
        start: impl Fn(&str, usize) -> Result<(BlipTextSession<'m>, Vec<Vec<u32>>), VerifyError>,
    ) -> Result<(), VerifyError> {
        let Some(cases) = self.golden.json("gen").and_then(Value::as_object) else {
            return Ok(());
        };
        let text = &self.config.text_config;
        for (name, value) in cases {
            let key = format!("gen.{name}");
            let case = Case::read(&key, value)?;
            if case.f64_agrees == Some(false) {
                let why = "the reference in f64 gives other tokens";
                self.comparison.report().skip(key, why);
                continue;
            }
            let mut config: GenerationConfig =
                serde_json::from_value(Value::Object(case.kwargs.clone()))
                    .map_err(|error| VerifyError::golden(format!("{key}: {error}")))?;
            config.eos_token_id = text.sep_token_id.into_iter().collect();
            let replay = || -> Result<Option<String>, VerifyError> {
                let (_, histories) = start(name, 1)?;
                let length = histories.first().map_or(0, Vec::len);
                let new_tokens = config.new_tokens_after(length).map_err(Blip2Error::from)?;
                let (mut session, histories) = start(name, new_tokens)?;
                let generated = Generator::new(config.clone())
                    .and_then(|generator| generator.generate(&mut session, &histories))
                    .map_err(Blip2Error::from)?;
                let generated: Vec<_> = generated.into_iter().flatten().collect();
                let pad = text.pad_token_id.unwrap_or_default();
                // These goldens have no scores.
                Ok(case.differs(&histories, &generated, pad, 0.0, |ids| {
                    Ok(self.tokenizer.decode(ids, true)?)
                }))
            };
            let outcome = match replay() {
                Ok(difference) => Outcome::Exact { difference },
                Err(error) => Outcome::failed(error),
            };
            self.comparison.report().push(key, outcome);
        }
        Ok(())
    }

    fn rows(&self, ids: &str, mask: &str) -> Result<PromptRows, VerifyError> {
        rows(self.golden, ids, mask)?
            .ok_or_else(|| VerifyError::golden(format!("there are no {ids} with {mask}")))
    }

    /// Rows that all count.
    fn ids(&self, key: &str) -> Result<PromptRows, VerifyError> {
        let ids = self
            .golden
            .tensor(key)
            .ok_or_else(|| VerifyError::golden(format!("there are no {key}")))?;
        let ids = unsigned(&ids.rows()?, 0);
        let mask = ids.iter().map(|row| vec![true; row.len()]).collect();
        Ok(PromptRows::new(ids, mask)?)
    }
}
