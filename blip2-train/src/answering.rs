//! Training a language model's answers and captions.

use blip2_core::{
    AnswerRows, Blip2Error, CancelToken, CheckpointFolder, GenerationConfig, LabeledRows,
    ModelKind, Options, Template,
};
use blip2_io::dataset::{Dataset, Example, LoadedBatch, OnBroken};
use blip2_lm::LmError;

use crate::{
    drawn::{NO_ANSWER, NO_RIGHT_ANSWER, drawn, is_silent, said},
    error::TrainError,
    evaluate::asking::{Asking, Evaluated, evaluations},
    group::{Alone, Group, together},
    objective::Batch,
    run::{At, Losses, Objective, Scores, Shared},
    scoring::{Scoring, can_choose},
    trained::device_of,
    writes::Writes,
};

/// The loss on a data set's answers and captions, and the score on another one's, of BLIP-2,
/// InstructBLIP, and BLIP-1 that answers or describes. InstructBLIP for videos has data sets
/// [of videos](Dataset::of_videos).
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
    /// How many labels of a row are read and not written: BLIP-1's first.
    read_alone: usize,
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
    /// What else is told of them. Default nothing.
    pub others: Vec<Scoring>,
    /// How answers are generated. Default: greedily.
    pub generation: GenerationConfig,
    /// How many are answered together. Default 16.
    pub batch: usize,
    /// What becomes of pictures that can no longer be decoded. Default: the evaluation fails.
    pub on_broken: OnBroken,
}

impl Validation {
    /// Answers these examples, 16 at a time, and scores the answers.
    pub fn new(data: Dataset, scoring: Scoring) -> Self {
        Self {
            data,
            scoring,
            others: Vec::new(),
            generation: GenerationConfig::default(),
            batch: 16,
            on_broken: OnBroken::Fail,
        }
    }

    /// Tells these scores too.
    #[must_use]
    pub fn with_others(mut self, scores: impl IntoIterator<Item = Scoring>) -> Self {
        self.others = scores.into_iter().collect();
        self
    }

    /// Generates answers so.
    #[must_use]
    pub fn with_generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = generation;
        self
    }

    /// Leaves pictures out that can no longer be decoded, or fails of them.
    #[must_use]
    pub fn with_on_broken(mut self, on_broken: OnBroken) -> Self {
        self.on_broken = on_broken;
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
        let kind = folder.kind()?;
        let (label_smoothing, read_alone) = match kind {
            ModelKind::BlipAnswer | ModelKind::BlipCaption => {
                (folder.blip_config()?.text_config.label_smoothing, 1)
            }
            _ => (0.0, 0),
        };
        Ok(Self {
            rows: AnswerRows::of(folder, None)?,
            folder: folder.clone(),
            template: None,
            label_smoothing,
            read_alone,
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

    /// Spreads this part of each token's weight over the vocabulary. Default: what the configuration
    /// of BLIP-1's text decoder says, as in the reference; of other models 0.
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

    /// What it evaluates on.
    pub fn validation(&self) -> Option<&Validation> {
        self.validation.as_ref()
    }

    /// Why an example cannot be trained on; `None` if it can.
    pub fn training_fault(&self, example: &Example) -> Option<String> {
        if is_silent(example) {
            return Some(NO_ANSWER.into());
        }
        let question = example.question.as_deref();
        let mut answers = said(example);
        answers.find_map(|answer| self.text_fault(question, answer))
    }

    /// Why an example cannot be evaluated; `None` if it can.
    pub fn evaluation_fault(&self, example: &Example) -> Option<String> {
        match is_silent(example) {
            true => Some(NO_RIGHT_ANSWER.into()),
            false => self.question_fault(example),
        }
    }

    /// Why a model cannot [choose](Scoring::chooses) one of an example's choices; `None` if it can.
    pub fn choice_fault(&self, example: &Example) -> Option<String> {
        if !can_choose(example) {
            let reason = "multiple choice is of questions with `choices`, one of which is the right answer, and it has \
                          none such";
            return Some(reason.into());
        }
        let question = example.question.as_deref();
        example.choices.iter().find_map(|choice| {
            let fault = self.text_fault(question, choice)?;
            let fault = fault.replace("its answer", &format!("its choice {choice:?}"));
            Some(fault)
        })
    }

    /// Why an example's question cannot be asked; `None` if it can.
    pub fn question_fault(&self, example: &Example) -> Option<String> {
        self.text_fault(example.question.as_deref(), "")
    }

    /// What [`rows`](Self::rows) would say of an example's question and an answer of it.
    fn text_fault(&self, question: Option<&str>, answer: &str) -> Option<String> {
        let tried = self.rows.mixed(&[(question, answer)]);
        match tried.err()? {
            Blip2Error::Lm(LmError::ContextTooLong {
                tokens, context, ..
            })
            | Blip2Error::ContextTooLong { tokens, context } => Some(format!(
                "is too long: with its picture and its answer it has {tokens} tokens, and the model's \
                 context holds {context}"
            )),
            Blip2Error::SpecialTokenInText { token, .. } => Some(format!(
                "has the special token `{token}` in its answer, which would not be read as text"
            )),
            Blip2Error::SpecialToken { token, .. } => Some(format!(
                "has the special token `{token}` in its question, which would not be read as text"
            )),
            Blip2Error::Rows { reason, .. } => Some(format!("does not suit the model: {reason}")),
            error => Some(format!("cannot be read: {error}")),
        }
    }

    fn rows(&self, examples: &[&Example], seed: u64) -> Result<LabeledRows, TrainError> {
        let examples = examples.iter().enumerate().map(|(place, example)| {
            let answer = drawn(example, place, seed)?;
            Ok((example.question.as_deref(), answer))
        });
        let examples: Vec<_> = examples.collect::<Result<_, TrainError>>()?;
        Ok(self.rows.mixed(&examples)?)
    }

    /// The loss of a batch's `rows`.
    fn loss<M: Writes>(
        &self,
        model: &M,
        batch: &LoadedBatch,
        rows: LabeledRows,
    ) -> Result<Losses, TrainError> {
        // The loss is the mean over tokens: a batch weighs by theirs, so that several make the step of
        // one as large.
        let tokens = rows
            .labels
            .iter()
            .flatten()
            .filter(|&&label| label >= 0)
            .count()
            .saturating_sub(self.read_alone * rows.labels.len());
        let pixels = batch.pixel_values.clone().tensor(&device_of(model));
        let batch = Batch::new(pixels, batch.rows(), rows);
        let total = model.loss(&batch, self.label_smoothing)?;
        Ok(Losses {
            weight: Some(tokens as f64),
            ..total.into()
        })
    }
}

impl Answering {
    /// How the model is on `data` by the validation's scores.
    fn evaluated<M: Writes>(
        &self,
        model: &M,
        data: Dataset,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<Evaluated, TrainError> {
        let pipeline = model.clone().pipeline(&self.folder, self.template.as_ref());
        let blip2 = together(group, pipeline.map_err(TrainError::from))?;
        let Some(validation) = &self.validation else {
            return Ok(Evaluated::default());
        };
        let options = Options::default()
            .with_generation(validation.generation.clone())
            .with_cancel(cancel.clone());
        let others = validation.others.iter().copied();
        let scores: Vec<Scoring> = [validation.scoring].into_iter().chain(others).collect();
        let asking = Asking {
            data: &data,
            options: &options,
            cancel,
            batch: validation.batch,
            on_broken: validation.on_broken,
            group,
        };
        evaluations(&blip2, &scores, asking, &mut |_| {})
    }

    /// What scores are of, on `data`.
    fn measure_on(&self, data: &str) -> Option<String> {
        let validation = self.validation.as_ref()?;
        let GenerationConfig {
            max_new_tokens,
            num_beams,
            ..
        } = &validation.generation;
        let tokens = max_new_tokens.unwrap_or_default();
        let template = self.template.as_ref();
        let asked = template.map_or(String::new(), |own| {
            format!(", asked in {:?}", own.to_string())
        });
        Some(format!(
            "{} on data {data}, of {tokens} tokens by {num_beams} beams{asked}",
            validation.scoring
        ))
    }
}

impl<M: Writes> Objective<M> for Answering {
    fn losses(&mut self, model: &M, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError> {
        let examples = batch.examples.iter().map(|loaded| &loaded.example);
        let examples: Vec<&Example> = examples.collect();
        let rows = self.rows(&examples, at.seed)?;
        self.loss(model, batch, rows)
    }

    /// The answers that are drawn, and how long rows are padded, follow from the whole batch: the own rows
    /// are the very ones that they are where one process sees it.
    fn losses_together(
        &mut self,
        model: &M,
        shared: &Shared<'_>,
        at: At,
    ) -> Result<Option<Losses>, TrainError> {
        let own: Vec<usize> = shared.own().collect();
        if own.is_empty() {
            return Ok(None);
        }
        let rows = self.rows(shared.examples(), at.seed)?.select(&own)?;
        self.loss(model, shared.batch(), rows).map(Some)
    }

    fn fault(&self, example: &Example) -> Option<String> {
        self.training_fault(example)
    }

    fn measure(&self) -> Option<String> {
        let validation = self.validation.as_ref()?;
        self.measure_on(&validation.data.fingerprint())
    }

    fn measure_of_the_whole(&self) -> Option<String> {
        let Validation {
            data, on_broken, ..
        } = self.validation.as_ref()?;
        let whole = || self.measure_on(&data.extent());
        (*on_broken == OnBroken::Skip).then(whole).flatten()
    }

    fn try_score(
        &mut self,
        model: &M,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<(), TrainError> {
        let Some(validation) = &self.validation else {
            return Ok(());
        };
        let few = validation.data.clone().first(validation.batch);
        self.evaluated(model, few, cancel, group).map(drop)
    }

    fn score(&mut self, model: &M, cancel: &CancelToken) -> Result<Option<Scores>, TrainError> {
        self.score_together(model, cancel, &Alone)
    }

    fn score_together(
        &mut self,
        model: &M,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<Option<Scores>, TrainError> {
        let Some(validation) = &self.validation else {
            return Ok(None);
        };
        let data = validation.data.clone();
        let Evaluated {
            evaluations,
            faults,
        } = self.evaluated(model, data, cancel, group)?;
        let Some(validation) = &mut self.validation else {
            return Ok(None);
        };
        let mut left_out = Vec::new();
        if !faults.is_empty() {
            let known = validation.data.broken().len();
            validation.data = validation.data.clone().without(&faults, OnBroken::Skip)?;
            let broken = validation.data.broken();
            left_out.extend(broken.iter().skip(known).cloned());
        }
        let mut found = evaluations.into_iter().map(|found| found.score);
        let value = found.next();
        let others = validation.others.iter();
        let others = others.map(|score| score.name().to_string());
        Ok(value.map(|value| Scores {
            value,
            others: others.zip(found).collect(),
            left_out,
        }))
    }
}
