//! Training a language model's answers and captions.

use blip2_core::{
    AnswerRows, Blip2Pipeline, CheckpointFolder, GenerationConfig, LabeledRows, Template,
    model::Blip2ForConditionalGeneration,
};
use blip2_io::dataset::{Dataset, LoadedBatch};

use crate::{
    drawn::{check_answers, drawn},
    error::TrainError,
    evaluate::{Scoring, answer_all},
    objective::{Batch, language_model_loss},
    run::{At, Losses, Objective},
    trained::device_of,
};

/// The language model's loss on a data set's answers and captions, and the score on another one's.
///
/// Of several answers, or captions, one is drawn each time that an example is seen.
///
/// ```no_run
/// use blip2_core::CheckpointFolder;
/// use blip2_io::dataset::{Dataset, OnBroken};
/// use blip2_train::{Answering, Scoring, Validation};
///
/// let folder = CheckpointFolder::open("models/blip2-opt-2.7b")?;
/// let held_out = Dataset::json_lines("validation.jsonl", "pictures", OnBroken::Fail)?;
/// let objective = Answering::new(&folder)?
///     .with_label_smoothing(0.1)
///     .with_validation(Validation::new(held_out, Scoring::ExactMatch));
/// # let _ = objective;
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug)]
pub struct Answering {
    folder: CheckpointFolder,
    rows: AnswerRows,
    template: Option<Template>,
    label_smoothing: f64,
    validation: Option<Validation>,
}

/// What a model is evaluated on while it is trained.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Validation {
    /// Examples that are not trained on.
    pub data: Dataset,
    /// How answers are scored.
    pub scoring: Scoring,
    /// How answers are generated. Default: greedily.
    pub generation: GenerationConfig,
    /// How many are answered together. Default 16.
    pub batch: usize,
}

impl Validation {
    /// Answers these examples, 16 at a time, and scores the answers.
    pub fn new(data: Dataset, scoring: Scoring) -> Self {
        Self {
            data,
            scoring,
            generation: GenerationConfig::default(),
            batch: 16,
        }
    }

    /// Generates answers so.
    #[must_use]
    pub fn with_generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = generation;
        self
    }

    /// Answers this number of examples together.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }
}

impl Answering {
    /// The loss on answers, for the checkpoint in `folder`, in its own template.
    ///
    /// # Errors
    ///
    /// As [`AnswerRows::of`].
    pub fn new(folder: &CheckpointFolder) -> Result<Self, TrainError> {
        Ok(Self {
            rows: AnswerRows::of(folder, None)?,
            folder: folder.clone(),
            template: None,
            label_smoothing: 0.0,
            validation: None,
        })
    }

    /// Puts questions into another template than the checkpoint's own.
    ///
    /// # Errors
    ///
    /// As [`AnswerRows::of`].
    pub fn with_template(mut self, template: Template) -> Result<Self, TrainError> {
        self.rows = AnswerRows::of(&self.folder, Some(template.clone()))?;
        self.template = Some(template);
        Ok(self)
    }

    /// Spreads this part of each token's weight over the vocabulary. Default 0.
    #[must_use]
    pub fn with_label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// Evaluates on these examples.
    #[must_use]
    pub fn with_validation(mut self, validation: Validation) -> Self {
        self.validation = Some(validation);
        self
    }

    fn rows(&self, batch: &LoadedBatch, seed: u64) -> Result<LabeledRows, TrainError> {
        let examples = batch.examples.iter().enumerate().map(|(place, loaded)| {
            let example = &loaded.example;
            Ok((example.question.as_deref(), drawn(example, place, seed)?))
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

impl Objective<Blip2ForConditionalGeneration> for Answering {
    fn losses(
        &mut self,
        model: &Blip2ForConditionalGeneration,
        batch: &LoadedBatch,
        at: At,
    ) -> Result<Losses, TrainError> {
        let rows = self.rows(batch, at.seed)?;
        let pixels = batch.pixel_values.clone().tensor(&device_of(model));
        let batch = Batch::new(pixels, batch.rows(), rows);
        Ok(language_model_loss(model, &batch, self.label_smoothing)?.into())
    }

    fn check(&self, data: &Dataset) -> Result<(), TrainError> {
        data.examples().iter().try_for_each(check_answers)
    }

    fn score(&mut self, model: &Blip2ForConditionalGeneration) -> Result<Option<f64>, TrainError> {
        let Some(validation) = &self.validation else {
            return Ok(None);
        };
        let mut builder = Blip2Pipeline::builder_from(self.folder.clone())
            .device(device_of(model))
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
