//! An evaluation that leaves out what breaks meanwhile, and loses no answer.

use std::{collections::BTreeSet, error::Error, fmt};

use blip2_core::{CancelToken, GenerationConfig, Options};
use blip2_io::dataset::{BrokenRecord, Dataset, OnBroken};

use super::asking::{Asking, Evaluated, Given, Heard, hear, scored};
use crate::{
    error::TrainError,
    group::Alone,
    scoring::{Evaluation, Scoring},
    writes::Responds,
};

/// Asks a model a data set's questions, and scores what it answers.
///
/// ```no_run
/// use blip2_core::Blip2Pipeline;
/// use blip2_io::dataset::{Dataset, OnBroken};
/// use blip2_train::{Evaluator, Scoring};
///
/// let model = Blip2Pipeline::builder("models/blip2-opt-2.7b").load()?;
/// let data = Dataset::json_lines("validation.jsonl", "pictures", OnBroken::Skip)?;
/// let evaluator = Evaluator::new(&data)
///     .with_scores([Scoring::ExactMatch])
///     .with_on_broken(OnBroken::Skip);
/// match evaluator.evaluate(&model, |_| {}) {
///     Ok(found) => println!("{:.3} of {}", found.evaluations[0].score, found.data.len()),
///     Err(failed) => eprintln!("{failed}, after {} answers", failed.answered.answers.len()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Evaluator<'d> {
    data: &'d Dataset,
    scores: Vec<Scoring>,
    generation: GenerationConfig,
    batch: usize,
    on_broken: OnBroken,
    cancel: CancelToken,
}

/// What a model answered, and how good that is.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Answered {
    /// The examples that have an answer, with all [broken](Dataset::broken) records that there are by now.
    pub data: Dataset,
    /// Their answers: those that the first score is of.
    pub answers: Vec<String>,
    /// One for each score, in their order; none where nothing was scored.
    pub evaluations: Vec<Evaluation>,
    /// What was left out because it broke meanwhile.
    pub left_out: Vec<BrokenRecord>,
}

/// An evaluation that failed or was cancelled, and what was answered before.
///
/// Whoever has no use for the latter has a [`TrainError`] of it by `?`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unanswered {
    /// What failed.
    pub error: TrainError,
    /// What was answered until then, without scores.
    pub answered: Box<Answered>,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Unanswered {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<Unanswered> for TrainError {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.error
    }
}

impl<'d> Evaluator<'d> {
    /// Asks about these examples, 16 at a time, greedily, and fails of a picture that cannot be decoded.
    pub fn new(data: &'d Dataset) -> Self {
        Self {
            data,
            scores: Vec::new(),
            generation: GenerationConfig::default(),
            batch: 16,
            on_broken: OnBroken::Fail,
            cancel: CancelToken::new(),
        }
    }

    /// Scores answers so. The first one says whether the model writes answers or
    /// [chooses](Scoring::chooses) them.
    #[must_use]
    pub fn with_scores(mut self, scores: impl IntoIterator<Item = Scoring>) -> Self {
        self.scores = scores.into_iter().collect();
        self
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

    /// Leaves pictures out that cannot be decoded, or fails of them.
    #[must_use]
    pub fn with_on_broken(mut self, on_broken: OnBroken) -> Self {
        self.on_broken = on_broken;
        self
    }

    /// Ends after the batch that is being answered when someone cancels.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Asks, and scores the answers by each score. Questions are asked once for all scores of written
    /// answers, and once more for those of choices. `done` hears how many were answered.
    ///
    /// # Errors
    ///
    /// [`Unanswered`]: for pictures that cannot be decoded, unless they are left out and others remain;
    /// whatever goes wrong with the model; [`TrainError::Cancelled`]; and as [`Scoring::of`].
    pub fn evaluate(
        &self,
        model: &impl Responds,
        mut done: impl FnMut(usize),
    ) -> Result<Answered, Unanswered> {
        let mut heard = Heard::default();
        self.hear(model, &mut heard, &mut done)
            .and_then(|()| self.scored(&heard))
            .map_err(|error| self.failed(error, &heard))
    }

    /// Asks, and scores nothing, as where nobody knows the right answers: what the first score is of, or
    /// else what the model writes.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate), but for scores.
    pub fn answer(
        &self,
        model: &impl Responds,
        mut done: impl FnMut(usize),
    ) -> Result<Answered, Unanswered> {
        let mut heard = Heard::default();
        self.hear_kind(model, self.chooses(), &mut heard, &mut done)
            .and_then(|()| self.answered(&heard))
            .map_err(|error| self.failed(error, &heard))
    }

    /// Whether the answers that count are chosen.
    fn chooses(&self) -> bool {
        self.scores.first().is_some_and(|score| score.chooses())
    }

    fn hear(
        &self,
        model: &impl Responds,
        heard: &mut Heard,
        done: &mut impl FnMut(usize),
    ) -> Result<(), TrainError> {
        let mut scores = self.scores.iter();
        scores.try_for_each(|score| self.hear_kind(model, score.chooses(), heard, done))
    }

    fn hear_kind(
        &self,
        model: &impl Responds,
        chooses: bool,
        heard: &mut Heard,
        done: &mut impl FnMut(usize),
    ) -> Result<(), TrainError> {
        // The token is not for the generation: an answer that was cut short would be none.
        let options = Options::default().with_generation(self.generation.clone());
        let asking = Asking {
            data: self.data,
            options: &options,
            cancel: &self.cancel,
            batch: self.batch,
            on_broken: self.on_broken,
            group: &Alone,
        };
        hear(model, chooses, asking, heard, done)
    }

    fn scored(&self, heard: &Heard) -> Result<Answered, TrainError> {
        let Evaluated {
            evaluations,
            faults,
        } = scored(&self.scores, self.data, heard)?;
        let data = self.data.clone().without(&faults, OnBroken::Skip)?;
        let answers = evaluations.first().map(|first| first.answers.clone());
        Ok(Answered {
            left_out: self.left_out_of(&data),
            data,
            answers: answers.unwrap_or_default(),
            evaluations,
        })
    }

    fn answered(&self, heard: &Heard) -> Result<Answered, TrainError> {
        let given = self.given(heard);
        let data = self.data.clone().without(&given.faults, OnBroken::Skip)?;
        Ok(Answered {
            left_out: self.left_out_of(&data),
            data,
            answers: given.answers.into_values().collect(),
            evaluations: Vec::new(),
        })
    }

    /// The answers that count.
    fn given(&self, heard: &Heard) -> Given {
        let given = match self.chooses() {
            true => &heard.chosen,
            false => &heard.written,
        };
        given.clone().unwrap_or_default()
    }

    fn left_out_of(&self, data: &Dataset) -> Vec<BrokenRecord> {
        let known = self.data.broken().len();
        data.broken().iter().skip(known).cloned().collect()
    }

    /// What was answered, of an evaluation that failed.
    fn failed(&self, error: TrainError, heard: &Heard) -> Unanswered {
        let given = self.given(heard);
        let has_answer: BTreeSet<usize> = given.answers.keys().copied().collect();
        let mut left = (0..self.data.len()).filter(|number| !given.faults.contains_key(number));
        let data = self.data.clone().without(&given.faults, OnBroken::Skip);
        // Where nothing is left, there is no answer either.
        let data = data.unwrap_or_default();
        let data = data.filtered(|_| left.next().is_some_and(|own| has_answer.contains(&own)));
        let answered = Answered {
            left_out: self.left_out_of(&data),
            data,
            answers: given.answers.into_values().collect(),
            evaluations: Vec::new(),
        };
        Unanswered {
            error,
            answered: Box::new(answered),
        }
    }
}
