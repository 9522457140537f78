//! Which of an example's answers is trained on.

use blip2_io::dataset::Example;

use crate::error::TrainError;

/// One of an example's answers, or captions, for its place in a batch.
pub(crate) fn drawn(example: &Example, place: usize, seed: u64) -> Result<&str, TrainError> {
    let answers: Vec<&str> = said(example).collect();
    let draw = seed.rotate_left(place as u32 % 64) as usize;
    let answer = answers.get(draw % answers.len().max(1)).copied();
    answer.ok_or_else(|| TrainError::example(&example.id, NO_ANSWER))
}

/// The answers that say something: blank ones count as none, lest a model learn to be silent.
pub(crate) fn said(example: &Example) -> impl Iterator<Item = &str> {
    let answers = example.answers.iter().map(String::as_str);
    answers.filter(|answer| !answer.trim().is_empty())
}

/// Whether nobody says anything: there is no answer, or all are blank.
pub(crate) fn is_silent(example: &Example) -> bool {
    said(example).next().is_none()
}

/// What is wrong with an example without an answer.
pub(crate) const NO_ANSWER: &str = "has no answer to train on";

/// What is wrong with an example that nothing can be compared with.
pub(crate) const NO_RIGHT_ANSWER: &str = "has no right answer to compare with";

#[cfg(test)]
mod tests {
    use super::*;
    use blip2_io::dataset::{Dataset, PictureFile};

    fn example(answers: &[&str]) -> Example {
        let pictures = vec![PictureFile::File("x.png".into())];
        let answers = answers.iter().map(|answer| answer.to_string()).collect();
        let data = Dataset::new(pictures, [(0, None, answers)]).unwrap();
        data.examples()[0].clone()
    }

    #[test]
    fn blank_answers_are_never_drawn() {
        let some = example(&["", "red", " \t", "blue", "\u{a0}"]);
        let found: std::collections::BTreeSet<&str> =
            (0..64).map(|seed| drawn(&some, 0, seed).unwrap()).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["blue", "red"]);
        for none in [example(&[]), example(&[""]), example(&[" ", "\n"])] {
            assert!(is_silent(&none));
            let error = drawn(&none, 0, 1).unwrap_err().to_string();
            assert!(error.contains(NO_ANSWER), "{error}");
        }
    }
}
