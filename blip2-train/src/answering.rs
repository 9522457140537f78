//! Training a language model's answers and captions.

use blip2_core::{
    AnswerRows, Blip2Pipeline, CheckpointFolder, GenerationConfig, LabeledRows, Template,
    model::Blip2ForConditionalGeneration,
};
use blip2_io::dataset::{Dataset, Example, LoadedBatch};
use burn::tensor::Device;

use crate::{
    At, Losses, Objective, Scoring, TrainError, answer_all,
    objective::{Batch, language_model_loss},
};

/// The language model's loss on a data set's answers and captions, and the score on another one's.
///
/// Of several answers, or captions, one is drawn each time that an example is seen.
#[derive(Debug)]
pub struct Answering {
    folder: CheckpointFolder,
    data: Dataset,
    rows: AnswerRows,
    template: Option<Template>,
    smoothing: f64,
    device: Device,
    validation: Option<Validation>,
}

/// What a model is evaluated on while it is trained.
#[derive(Debug, Clone)]
pub struct Validation {
    /// Examples that are not trained on.
    pub data: Dataset,
    /// How answers are scored.
    pub scoring: Scoring,
    /// How answers are generated.
    pub generation: GenerationConfig,
    /// How many are answered together.
    pub batch: usize,
}

impl Answering {
    /// The loss on the answers of `data`, for the checkpoint in `folder`, in its own template or
    /// another.
    ///
    /// # Errors
    ///
    /// As [`AnswerRows::of`], and [`TrainError::Batch`] for an example without an answer.
    pub fn new(
        folder: &CheckpointFolder,
        data: Dataset,
        template: Option<Template>,
    ) -> Result<Self, TrainError> {
        if let Some(example) = data
            .examples()
            .iter()
            .find(|example| example.answers.is_empty())
        {
            let reason = format!("example {} has no answer to train on", example.id);
            return Err(TrainError::Batch { reason });
        }
        Ok(Self {
            rows: AnswerRows::of(folder, template.clone())?,
            folder: folder.clone(),
            data,
            template,
            smoothing: 0.0,
            device: Device::flex(),
            validation: None,
        })
    }

    /// So much of each token's weight is spread over the vocabulary. Default 0.
    #[must_use]
    pub fn smoothing(mut self, smoothing: f64) -> Self {
        self.smoothing = smoothing;
        self
    }

    /// Computes on this device, which must be the model's. Default: `flex`.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Evaluates on these examples.
    #[must_use]
    pub fn validated(mut self, validation: Validation) -> Self {
        self.validation = Some(validation);
        self
    }

    fn rows(&self, batch: &LoadedBatch, seed: u64) -> Result<LabeledRows, TrainError> {
        let examples = batch.examples.iter().enumerate().map(|(row, (number, _))| {
            let example = example(&self.data, *number)?;
            Ok((example.question.as_deref(), drawn(example, row, seed)?))
        });
        let examples: Vec<_> = examples.collect::<Result<_, TrainError>>()?;
        let questions = examples
            .iter()
            .filter(|(question, _)| question.is_some())
            .count();
        if questions == 0 {
            let captions: Vec<&str> = examples.into_iter().map(|(_, caption)| caption).collect();
            return Ok(self.rows.captions(&captions)?);
        }
        if questions < examples.len() {
            let reason = "questions and captions do not go into one batch".into();
            return Err(TrainError::Batch { reason });
        }
        let pairs = examples
            .into_iter()
            .map(|(question, answer)| (question.unwrap_or_default(), answer));
        Ok(self.rows.questions(&pairs.collect::<Vec<_>>())?)
    }
}

/// An example of a batch.
pub(crate) fn example(data: &Dataset, number: usize) -> Result<&Example, TrainError> {
    let found = data.examples().get(number);
    found.ok_or_else(|| TrainError::Batch {
        reason: format!("it is of another data set: this one has no example number {number}"),
    })
}

/// One of an example's answers, or captions, for a row of a batch.
pub(crate) fn drawn(example: &Example, row: usize, seed: u64) -> Result<&str, TrainError> {
    let draw = seed.rotate_left(row as u32 % 64) as usize;
    let place = draw.checked_rem(example.answers.len());
    let found = place.and_then(|place| example.answers.get(place));
    found.map(String::as_str).ok_or_else(|| TrainError::Batch {
        reason: format!("example {} has no answer to train on", example.id),
    })
}

impl Objective<Blip2ForConditionalGeneration> for Answering {
    fn losses(
        &mut self,
        model: &Blip2ForConditionalGeneration,
        batch: &LoadedBatch,
        at: At,
    ) -> Result<Losses, TrainError> {
        let rows = self.rows(batch, at.seed)?;
        let pictures = batch.examples.iter().map(|(_, picture)| *picture).collect();
        let pixels = batch.pixel_values.clone().tensor(&self.device);
        let batch = Batch::new(pixels, pictures, rows);
        Ok(language_model_loss(model, &batch, self.smoothing)?.into())
    }

    fn score(&mut self, model: &Blip2ForConditionalGeneration) -> Result<Option<f64>, TrainError> {
        let Some(validation) = &self.validation else {
            return Ok(None);
        };
        let mut builder = Blip2Pipeline::builder_from(self.folder.clone())
            .device(self.device.clone())
            .model(model.clone());
        if let Some(template) = &self.template {
            builder = builder.template(template.clone());
        }
        let blip2 = builder.load()?;
        let Validation {
            data,
            scoring,
            generation,
            batch,
        } = validation;
        let answers = answer_all(&blip2, data, generation, *batch, |_| {})?;
        Ok(Some(scoring.of(data, answers)?.score))
    }
}
