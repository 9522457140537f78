//! Which of an example's answers is trained on.

use blip2_io::dataset::Example;

use crate::error::TrainError;

/// One of an example's answers, or captions, for its place in a batch.
pub(crate) fn drawn(example: &Example, place: usize, seed: u64) -> Result<&str, TrainError> {
    check_answers(example)?;
    let draw = seed.rotate_left(place as u32 % 64) as usize;
    let answer = example.answers.get(draw % example.answers.len());
    Ok(answer.map(String::as_str).unwrap_or_default())
}

/// Refuses an example without an answer.
pub(crate) fn check_answers(example: &Example) -> Result<(), TrainError> {
    match example.answers.is_empty() {
        true => Err(TrainError::example(
            &example.id,
            "has no answer to train on",
        )),
        false => Ok(()),
    }
}
