//! How a model is on a data set.

pub(crate) mod asking;
mod evaluator;

use blip2_core::GenerationConfig;
use blip2_io::dataset::Dataset;

pub use evaluator::{Answered, Evaluator, Unanswered};

use crate::{
    error::TrainError,
    scoring::{Evaluation, Scoring},
    writes::Responds,
};

/// How a model is on a data set by several scores, one evaluation each, in their order. Questions are
/// asked once for all scores of written answers, and once more, of the choices that are given, for those
/// that [choose](Scoring::chooses).
///
/// [`Evaluator`] leaves out what breaks meanwhile, and keeps what was answered before something fails.
///
/// # Errors
///
/// As [`answer_all`] and [`Scoring::of`].
pub fn evaluate_all(
    model: &impl Responds,
    data: &Dataset,
    scores: &[Scoring],
    generation: &GenerationConfig,
    batch: usize,
    done: impl FnMut(usize),
) -> Result<Vec<Evaluation>, TrainError> {
    let evaluator = Evaluator::new(data)
        .with_scores(scores.iter().copied())
        .with_generation(generation.clone())
        .with_batch(batch);
    Ok(evaluator.evaluate(model, done)?.evaluations)
}

/// The likeliest of each example's choices, one example after another. `done` hears how many were
/// answered.
///
/// # Errors
///
/// [`TrainError::Example`] for one without a question, and as [`answer_all`].
pub fn choose_all(
    model: &impl Responds,
    data: &Dataset,
    done: impl FnMut(usize),
) -> Result<Vec<String>, TrainError> {
    let evaluator = Evaluator::new(data).with_scores([Scoring::MultipleChoice]);
    Ok(evaluator.answer(model, done)?.answers)
}

/// Answers all questions of a data set, and describes the pictures of examples without a question,
/// `batch` at a time. `done` hears how many were answered.
///
/// # Errors
///
/// For pictures that cannot be decoded, and whatever goes wrong with the model.
pub fn answer_all(
    blip2: &impl Responds,
    data: &Dataset,
    generation: &GenerationConfig,
    batch: usize,
    done: impl FnMut(usize),
) -> Result<Vec<String>, TrainError> {
    let evaluator = Evaluator::new(data)
        .with_generation(generation.clone())
        .with_batch(batch);
    Ok(evaluator.answer(blip2, done)?.answers)
}
