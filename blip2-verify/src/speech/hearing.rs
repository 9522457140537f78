//! From mel features to logits and texts.

use blip2_audio::ConformerOptions;
use blip2_core::{
    Blip2Error,
    model::PromptRows,
    speech::{SoundFeatures, SpeechPipeline},
};
use blip2_lm::{Keep, LanguageModel};
use burn::tensor::{DType, Tensor, TensorData};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    case::Case,
    compare::{Compare, Comparison},
    error::VerifyError,
    generation::{Prompts, Writer},
    golden::{Golden, GoldenTensor},
    loss::cross_entropy,
    prompts,
    report::Outcome,
    rows::{rows, single},
};

/// What a loss leaves out.
const IGNORED: i64 = -100;

/// A verification of a model that hears, under way.
pub(super) struct Hearing<'v> {
    pub(super) comparison: Comparison<'v>,
    pub(super) speech: &'v SpeechPipeline,
    /// The same model in four bits, if it is to write ahead of the other.
    pub(super) draft: Option<&'v SpeechPipeline>,
    pub(super) golden: &'v Golden,
    pub(super) scores: f64,
}

impl<'v> Hearing<'v> {
    /// How prompts become rows: one placeholder for each vector of their sound.
    pub(super) fn prompts(&mut self, sizes: &[usize]) -> Result<(), VerifyError> {
        let golden = self.golden;
        let Some(texts) = golden.json("prompts").and_then(Value::as_array) else {
            return Ok(());
        };
        let texts = texts.iter().filter_map(Value::as_str);
        let all: Vec<(&str, usize)> = texts.zip(sizes.iter().copied()).collect();
        if let Some(expected) = golden.json("inputs") {
            let (ids, mask) = (&expected["input_ids"], &expected["attention_mask"]);
            let outcome = prompts::compare(self.speech.prompt_rows(&all), ids, Some(mask));
            self.comparison.report().push("inputs", outcome);
        }
        if let (Some(ids), Some(second)) = (golden.json("input_ids_single"), all.get(1)) {
            let outcome = prompts::compare(self.speech.prompt_rows(&[*second]), ids, None);
            self.comparison.report().push("input_ids_single", outcome);
        }
        Ok(())
    }

    /// The sounds of the batch, from the features that were recorded.
    pub(super) fn together(&mut self, sizes: &[usize]) -> Result<(), VerifyError> {
        let Some(vectors) = self.hear("input_features", true)? else {
            return Ok(());
        };
        let [count, most, _] = vectors.dims();
        if count != sizes.len() || sizes.iter().any(|size| *size > most) {
            let reason =
                format!("{count} sounds of at most {most} vectors, where {sizes:?} are due");
            return Err(VerifyError::golden(reason));
        }
        let sound = |(n, size): (usize, &usize)| {
            let vectors = vectors.clone().narrow(0, n, 1);
            SoundFeatures::new(vectors.narrow(1, 0, *size))
        };
        let sounds: Vec<SoundFeatures> = sizes.iter().enumerate().map(sound).collect();
        let Some(rows) = rows(self.golden, "input_ids", "attention_mask")? else {
            return Ok(());
        };
        let embeds = embedded(self.speech, &sounds, &rows);
        let Some(prompts) = self.comparison.run("logits", embeds) else {
            return Ok(());
        };
        self.forward("", &prompts)?;
        self.cases("gen", &prompts)
    }

    /// The sound and the prompt that were recorded alone.
    pub(super) fn single(&mut self) -> Result<(), VerifyError> {
        let Some(rows) = single(self.golden)? else {
            return Ok(());
        };
        let Some(vectors) = self.hear("single.input_features", false)? else {
            return Ok(());
        };
        let embeds = embedded(self.speech, &[SoundFeatures::new(vectors)], &rows);
        let Some(prompts) = self.comparison.run("single.logits", embeds) else {
            return Ok(());
        };
        self.forward("single.", &prompts)?;
        self.cases("gen_single", &prompts)
    }

    /// Text without sound, which the language model writes without the adapter that is beside the
    /// checkpoint.
    pub(super) fn text_alone(&mut self) -> Result<(), VerifyError> {
        let key = "gen_text_only";
        let Some(value) = self.golden.json(key) else {
            return Ok(());
        };
        let case = Case::read(key, value)?;
        let ids: Vec<Vec<u32>> = Deserialize::deserialize(&value["input_ids"])
            .map_err(|error| VerifyError::golden(format!("{key}: {error}")))?;
        let mask = ids.iter().map(|row| vec![true; row.len()]).collect();
        let rows = PromptRows::new(ids, mask)?;
        let silent = self.speech.without_adapter();
        let prompts = embedded(&silent, &[], &rows);
        if let Some(prompts) = self.comparison.run(key, prompts) {
            let outcome = self.writer(&silent).replay(&case, &prompts);
            self.comparison.report().push(key, outcome);
        }
        Ok(())
    }

    /// The stages from recorded features to the vectors that the language model is given,
    /// `[sounds, vectors, lm_hidden]`. Only those of the whole batch were recorded.
    fn hear(&mut self, key: &str, recorded: bool) -> Result<Option<Tensor<3>>, VerifyError> {
        let Some(features) = self.golden.tensor(key) else {
            return Ok(None);
        };
        let model = self.speech.model();
        let features = features.tensor(self.speech.device())?;
        let options = ConformerOptions::default().with_hidden_states(recorded);
        let comparison = &mut self.comparison;
        let encoded = model.encoder().forward(features, &options);
        let Some(encoded) = comparison.run("encoder", encoded) else {
            return Ok(None);
        };
        let frames = encoded.last_hidden_state;
        if recorded {
            if let Some(input) = encoded.hidden_states.first() {
                comparison.tensor("encoder.input_linear", input.clone());
            }
            comparison.series("encoder.hidden", encoded.hidden_states);
            comparison.tensor("encoder.last_hidden_state", frames.clone());
            let gathered = model.projector().gather(frames.clone());
            if let Some(gathered) = comparison.run("qformer", gathered) {
                comparison.tensor("qformer.last_hidden_state", gathered);
            }
        }
        let vectors = model.projector().forward(frames);
        let Some(vectors) = comparison.run("projector", vectors) else {
            return Ok(None);
        };
        if recorded {
            comparison.tensor("projector", vectors.clone());
        }
        Ok(Some(vectors))
    }

    /// Hidden states, logits and the loss of prompts, where their positions count.
    fn forward(&mut self, prefix: &str, prompts: &Prompts) -> Result<(), VerifyError> {
        let Some(logits) = self.logits(prefix, prompts)? else {
            return Ok(());
        };
        let (Some(golden), true) = (self.golden.tensor("loss"), prefix.is_empty()) else {
            return Ok(());
        };
        let Some(labels) = self.golden.tensor("labels") else {
            return Ok(());
        };
        // Each position's logits against the next label.
        let next = |(labels, mask): (&Vec<i64>, &Vec<bool>)| {
            let counted = labels.iter().zip(mask).skip(1);
            let label = |(label, counts): (&i64, &bool)| if *counts { *label } else { IGNORED };
            counted.map(label).collect()
        };
        let labels = labels.rows()?;
        let next: Vec<Vec<i64>> = labels.iter().zip(&prompts.mask).map(next).collect();
        let [_, seq, _] = logits.dims();
        let outcome = match cross_entropy(logits.narrow(1, 0, seq.saturating_sub(1)), &next) {
            Ok(loss) => self.comparison.tolerance().compare(&[], &[loss], golden),
            Err(error) => Outcome::Failed { error },
        };
        self.comparison.report().push("loss", outcome);
        Ok(())
    }

    fn logits(
        &mut self,
        prefix: &str,
        prompts: &Prompts,
    ) -> Result<Option<Tensor<3>>, VerifyError> {
        let key = format!("{prefix}logits");
        let LanguageModel::Decoder(decoder) = self.speech.model().language_model() else {
            let reason = "an unknown language model";
            self.comparison.report().skip(key, reason);
            return Ok(None);
        };
        let Prompts { embeds, mask, .. } = prompts;
        // These goldens are of `forward`, whose positions may not be those of `generate`.
        let output =
            decoder.forward_without_position_ids(embeds.clone(), mask, Keep::HIDDEN_STATES);
        let Some(output) = self.comparison.run(&key, output) else {
            return Ok(None);
        };
        for (n, hidden) in output.hidden_states.into_iter().enumerate() {
            self.counted(&format!("{prefix}lm.hidden.{n}"), hidden, mask)?;
        }
        self.counted(&key, output.logits.clone(), mask)?;
        Ok(Some(output.logits))
    }

    /// Compares the positions that count: what the reference has in the padding is read by nobody.
    fn counted(
        &mut self,
        key: &str,
        found: Tensor<3>,
        mask: &[Vec<bool>],
    ) -> Result<(), VerifyError> {
        let Some(golden) = self.golden.tensor(key) else {
            return Ok(());
        };
        let shape = found.dims();
        if golden.shape != shape {
            self.comparison.tensor(key, found);
            return Ok(());
        }
        let found = GoldenTensor {
            shape: shape.to_vec(),
            data: found.into_data(),
        };
        let (found, expected) = (only(&found, mask)?, only(golden, mask)?);
        let kept = found.floats()?;
        let outcome = self
            .comparison
            .tolerance()
            .compare(&found.shape, &kept, &expected);
        self.comparison.report().push(key, outcome);
        Ok(())
    }

    fn cases(&mut self, group: &str, prompts: &Prompts) -> Result<(), VerifyError> {
        let (writer, golden) = (self.writer(self.speech), self.golden);
        writer.cases(golden, self.comparison.report(), group, prompts)
    }

    fn writer<'s>(&self, speech: &'s SpeechPipeline) -> Writer<'s>
    where
        'v: 's,
    {
        Writer {
            language_model: speech.model().language_model(),
            draft: self.draft.map(|draft| draft.model().language_model()),
            config: &speech.config().text_config,
            tokenizer: speech.tokenizer(),
            decoder_start: None,
            tolerance: self.comparison.tolerance(),
            scores: self.scores,
        }
    }
}

/// Prompts with their sounds, as the language model reads them.
fn embedded(
    speech: &SpeechPipeline,
    sounds: &[SoundFeatures],
    rows: &PromptRows,
) -> Result<Prompts, Blip2Error> {
    let (embeds, mask) = speech.model().inputs_embeds(sounds, rows)?;
    let ids = rows.ids().to_vec();
    Ok(Prompts { ids, embeds, mask })
}

/// The vectors of the positions that count, `[positions, width]`.
fn only(tensor: &GoldenTensor, mask: &[Vec<bool>]) -> Result<GoldenTensor, VerifyError> {
    let width = tensor.shape.last().copied().unwrap_or_default().max(1);
    let values = tensor.floats()?;
    let counts = mask.iter().flatten();
    let kept = values.chunks_exact(width).zip(counts);
    let kept: Vec<f32> = kept
        .filter(|(_, counts)| **counts)
        .flat_map(|(row, _)| row.iter().copied())
        .collect();
    let shape = vec![kept.len() / width, width];
    let data = TensorData::new(kept, shape.clone()).convert_dtype(DType::F32);
    Ok(GoldenTensor { shape, data })
}
