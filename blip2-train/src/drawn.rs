//! Which of an example's answers is trained on.

use blip2_io::dataset::Example;

use crate::error::TrainError;

/// One of an example's answers, or captions, for its place in a batch.
pub(crate) fn drawn(example: &Example, place: usize, seed: u64) -> Result<&str, TrainError> {
    let draw = seed.rotate_left(place as u32 % 64) as usize;
    let answer = example.answers.get(draw % example.answers.len().max(1));
    let answer = answer.ok_or_else(|| TrainError::example(&example.id, NO_ANSWER))?;
    Ok(answer)
}

/// What is wrong with an example without an answer.
pub(crate) const NO_ANSWER: &str = "has no answer to train on";
