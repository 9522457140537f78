//! How good a model is on a data set.

use std::fmt;

use blip2_core::{GenerationConfig, Options};
use blip2_io::{dataset::Dataset, preprocessing::DecodeOptions};
use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError,
    scores::{bleu, caption_words, cider_d, exact_match, vqa_accuracy},
    writes::Responds,
};

/// A score of answers or captions.
///
/// ```
/// use blip2_io::dataset::{Dataset, PictureFile};
/// use blip2_train::Scoring;
///
/// let pictures = vec![PictureFile::File("dogs.jpg".into())];
/// let ask = |question: &str, answer: &str| (0, Some(question.into()), vec![answer.into()]);
/// let data = Dataset::new(pictures, [ask("how many?", "2"), ask("what?", "dogs")])?;
/// let found = Scoring::ExactMatch.of(&data, vec!["2".into(), "cats".into()])?;
/// assert_eq!((found.score, found.each), (0.5, vec![1.0, 0.0]));
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scoring {
    /// The part of answers that equal the right one, or one of them, to the letter.
    ExactMatch,
    /// VQAv2's accuracy against several people's answers.
    Vqa,
    /// CIDEr-D of captions.
    CiderD,
    /// BLEU-4 of captions: n-grams of up to four words.
    Bleu4,
}

impl fmt::Display for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactMatch => "exact match",
            Self::Vqa => "VQA accuracy",
            Self::CiderD => "CIDEr-D",
            Self::Bleu4 => "BLEU-4",
        })
    }
}

/// What right answers score at the least; COCO's BLEU adds a little to every count, lest it be 0.
const LEAST: f64 = 1e-3;

/// What a model answered, and how good that is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The score of all together.
    pub score: f64,
    /// The score of each answer.
    pub each: Vec<f64>,
    /// The answer, or caption, to each example, in the data set's order.
    pub answers: Vec<String>,
}

impl Scoring {
    /// Refuses a data set on which even right answers would not score: VQA's accuracy where there is
    /// one answer to each question, CIDEr-D of a single picture, BLEU-4 of single words.
    ///
    /// # Errors
    ///
    /// [`TrainError::Argument`] saying so, and as [`of`](Self::of).
    pub fn check(self, data: &Dataset) -> Result<(), TrainError> {
        let right = data
            .examples()
            .iter()
            .map(|example| usual(&example.answers));
        if self.of(data, right.collect())?.score > LEAST {
            return Ok(());
        }
        let reason = "cannot be above 0 on this data, whatever is answered: ";
        let why = match self {
            Self::Vqa => "it compares with what several people answered, and there is one answer",
            Self::CiderD => "it tells captions apart, and all pictures have the same",
            _ => "it counts four words in a row, and no answer has them",
        };
        Err(TrainError::argument(
            "score",
            self,
            format!("{reason}{why}"),
        ))
    }

    /// Scores answers, or captions, to the examples of a data set.
    ///
    /// # Errors
    ///
    /// [`TrainError::Batch`] for another number of answers than of examples, and
    /// [`TrainError::Example`] for one of which nobody knows the right answer.
    pub fn of(self, data: &Dataset, answers: Vec<String>) -> Result<Evaluation, TrainError> {
        if answers.len() != data.len() {
            let reason = format!("{} answers to {} examples", answers.len(), data.len());
            return Err(TrainError::Batch { reason });
        }
        let unknown = data
            .examples()
            .iter()
            .find(|example| example.answers.is_empty());
        if let Some(example) = unknown {
            let reason = "has no right answer to compare with";
            return Err(TrainError::example(&example.id, reason));
        }
        let pairs = || answers.iter().zip(data.examples());
        let (score, each) = match self {
            Self::ExactMatch => mean(pairs().map(|(answer, example)| {
                let right = |right: &String| exact_match(answer, right);
                f64::from(u8::from(example.answers.iter().any(right)))
            })),
            Self::Vqa => {
                mean(pairs().map(|(answer, example)| vqa_accuracy(answer, &example.answers)))
            }
            Self::CiderD | Self::Bleu4 => {
                let captions: Vec<String> =
                    answers.iter().map(|text| caption_words(text)).collect();
                let references: Vec<Vec<String>> = data
                    .examples()
                    .iter()
                    .map(|example| {
                        example
                            .answers
                            .iter()
                            .map(|text| caption_words(text))
                            .collect()
                    })
                    .collect();
                let scores = match self {
                    Self::Bleu4 => bleu(4, &captions, &references),
                    _ => cider_d(&captions, &references),
                };
                (scores.corpus, scores.each)
            }
        };
        Ok(Evaluation {
            score,
            each,
            answers,
        })
    }
}

/// The answer that most people gave.
fn usual(answers: &[String]) -> String {
    let count = |one: &&String| answers.iter().filter(|other| other == one).count();
    answers
        .iter()
        .max_by_key(count)
        .cloned()
        .unwrap_or_default()
}

fn mean(each: impl Iterator<Item = f64>) -> (f64, Vec<f64>) {
    let each: Vec<f64> = each.collect();
    let count = each.len().max(1) as f64;
    (each.iter().sum::<f64>() / count, each)
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
    mut done: impl FnMut(usize),
) -> Result<Vec<String>, TrainError> {
    let options = Options::default().with_generation(generation.clone());
    answers(blip2, data, &options, batch, |answered| {
        done(answered);
        Ok(())
    })
}

/// The same, until `done` fails.
pub(crate) fn answers(
    blip2: &impl Responds,
    data: &Dataset,
    options: &Options,
    batch: usize,
    mut done: impl FnMut(usize) -> Result<(), TrainError>,
) -> Result<Vec<String>, TrainError> {
    let mut answers = vec![String::new(); data.len()];
    let numbers: Vec<usize> = (0..data.len()).collect();
    let asks = |number: &usize| data.examples()[*number].question.is_some();
    let (asked, described): (Vec<usize>, Vec<usize>) = numbers.into_iter().partition(asks);
    let mut answered = 0;
    for (numbers, asks) in [(asked, true), (described, false)] {
        for part in numbers.chunks(batch.max(1)) {
            let pictures = part.iter().map(|&number| {
                let file = &data.pictures()[data.examples()[number].picture];
                file.open(&DecodeOptions::default())
            });
            let pictures = pictures.collect::<Result<Vec<_>, _>>()?;
            let found = if asks {
                let pairs = part.iter().zip(&pictures).map(|(&number, picture)| {
                    let question = data.examples()[number].question.as_deref();
                    (picture, question.unwrap_or_default())
                });
                blip2.respond(&pairs.collect::<Vec<_>>(), options)?
            } else {
                blip2.describe(&pictures.iter().collect::<Vec<_>>(), options)?
            };
            for (&number, answer) in part.iter().zip(found) {
                answers[number] = answer.text;
            }
            answered += part.len();
            done(answered)?;
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use blip2_io::dataset::PictureFile;

    #[test]
    fn a_score_that_cannot_rise_on_the_data_is_refused() {
        let data = |answers: &[&[&str]]| {
            let pictures = vec![PictureFile::File("x.png".into())];
            let own = |own: &&[&str]| own.iter().map(|text| text.to_string()).collect();
            let examples = answers.iter().map(|answers| (0, None, own(answers)));
            Dataset::new(pictures, examples).unwrap()
        };
        let words: &[&[&str]] = &[&["red"], &["blue"]];
        let people: &[&[&str]] = &[&["red", "red", "red", "blue"]];
        let captions: &[&[&str]] = &[&["a dog on the grass"], &["two cats sleep on a bed"]];
        for (scoring, answers, works) in [
            (Scoring::ExactMatch, words, true),
            (Scoring::Vqa, words, false),
            (Scoring::Vqa, people, true),
            (Scoring::Bleu4, words, false),
            (Scoring::Bleu4, captions, true),
            (Scoring::CiderD, captions, true),
            (Scoring::CiderD, &captions[..1], false),
        ] {
            assert_eq!(
                scoring.check(&data(answers)).is_ok(),
                works,
                "{scoring} {answers:?}"
            );
        }
    }
}
