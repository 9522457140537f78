//! Scores of a data set's answers and captions.

mod by_kind;

use std::fmt;

use blip2_io::dataset::{Dataset, Example};
pub use by_kind::Kind;
use serde::{Deserialize, Serialize};

use crate::{
    drawn::{NO_RIGHT_ANSWER, is_silent, said},
    error::TrainError,
    scores::{
        CaptionScores, bleu, caption_words_together, cider_d, exact_match, exact_match_any_case,
        rouge_l, vqa_accuracy,
    },
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
/// let found = Scoring::ExactMatch.of(&data, vec!["2".into(), "Dogs".into()])?;
/// assert_eq!((found.score, found.each), (0.5, vec![1.0, 0.0]));
/// let found = Scoring::ExactMatchAnyCase.of(&data, vec!["2".into(), "Dogs".into()])?;
/// assert_eq!(found.score, 1.0);
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scoring {
    /// The part of answers that equal the right one, or one of them, to the letter.
    ExactMatch,
    /// The same, capitals being as good as small letters.
    ExactMatchAnyCase,
    /// VQAv2's accuracy against several people's answers.
    Vqa,
    /// The part of examples with choices of which the model finds the right one likeliest.
    MultipleChoice,
    /// CIDEr-D of captions.
    CiderD,
    /// BLEU-1 of captions: single words.
    Bleu1,
    /// BLEU-2 of captions: n-grams of up to two words.
    Bleu2,
    /// BLEU-3 of captions: n-grams of up to three words.
    Bleu3,
    /// BLEU-4 of captions: n-grams of up to four words.
    Bleu4,
    /// ROUGE-L of captions: the longest common subsequence of words.
    RougeL,
}

impl fmt::Display for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactMatch => "exact match",
            Self::ExactMatchAnyCase => "exact match in any case",
            Self::Vqa => "VQA accuracy",
            Self::MultipleChoice => "multiple choice",
            Self::CiderD => "CIDEr-D",
            Self::Bleu1 => "BLEU-1",
            Self::Bleu2 => "BLEU-2",
            Self::Bleu3 => "BLEU-3",
            Self::Bleu4 => "BLEU-4",
            Self::RougeL => "ROUGE-L",
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
    /// What it is called in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact-match",
            Self::ExactMatchAnyCase => "exact-match-any-case",
            Self::Vqa => "vqa",
            Self::MultipleChoice => "multiple-choice",
            Self::CiderD => "cider-d",
            Self::Bleu1 => "bleu1",
            Self::Bleu2 => "bleu2",
            Self::Bleu3 => "bleu3",
            Self::Bleu4 => "bleu4",
            Self::RougeL => "rouge-l",
        }
    }

    /// Whether it is of choices that are given, not of answers that the model writes.
    pub fn chooses(self) -> bool {
        self == Self::MultipleChoice
    }

    /// Refuses a data set on which even right answers would not score: VQA's accuracy where there is
    /// one answer to each question, CIDEr-D of a single picture, BLEU-4 of single words; and one without
    /// choices where the model is to choose.
    ///
    /// # Errors
    ///
    /// [`TrainError::Argument`] saying so, and as [`of`](Self::of).
    pub fn check(self, data: &Dataset) -> Result<(), TrainError> {
        if self.chooses()
            && let Some(example) = data.examples().iter().find(|example| !can_choose(example))
        {
            let reason = format!(
                "is of questions with `choices`, one of which is the right answer, and example {} has \
                 none such",
                example.id
            );
            return Err(TrainError::argument("score", self, reason));
        }
        if self == Self::Vqa && data.examples().iter().all(|own| own.question.is_none()) {
            let reason = "is of answers to questions, and the data has captions alone";
            return Err(TrainError::argument("score", self, reason));
        }
        let right = data
            .examples()
            .iter()
            .map(|example| usual(example).to_string());
        if self.of(data, right.collect())?.score > LEAST {
            return Ok(());
        }
        let reason = "cannot be above 0 on this data, whatever is answered: ";
        let why = match self {
            Self::Vqa => "it compares with what several people answered, and there is one answer",
            Self::CiderD => "it tells captions apart, and all pictures have the same",
            Self::Bleu2 => "it counts two words in a row, and no answer has them",
            Self::Bleu3 => "it counts three words in a row, and no answer has them",
            Self::Bleu4 => "it counts four words in a row, and no answer has them",
            _ => "the right answers are empty",
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
        let unknown = data.examples().iter().find(|example| is_silent(example));
        if let Some(example) = unknown {
            return Err(TrainError::example(&example.id, NO_RIGHT_ANSWER));
        }
        let CaptionScores {
            corpus: score,
            each,
        } = match self {
            Self::ExactMatch | Self::MultipleChoice => each(data, &answers, |answer, right| {
                is_one_of(answer, right, exact_match)
            }),
            Self::ExactMatchAnyCase => each(data, &answers, |answer, right| {
                is_one_of(answer, right, exact_match_any_case)
            }),
            Self::Vqa => each(data, &answers, vqa_accuracy),
            Self::CiderD => captions(data, &answers, cider_d),
            Self::RougeL => captions(data, &answers, rouge_l),
            Self::Bleu1 => captions(data, &answers, |own, right| bleu(1, own, right)),
            Self::Bleu2 => captions(data, &answers, |own, right| bleu(2, own, right)),
            Self::Bleu3 => captions(data, &answers, |own, right| bleu(3, own, right)),
            Self::Bleu4 => captions(data, &answers, |own, right| bleu(4, own, right)),
        };
        Ok(Evaluation {
            score,
            each,
            answers,
        })
    }
}

/// The answer that most people gave, of those who gave one.
fn usual(example: &Example) -> &str {
    let count = |one: &&str| said(example).filter(|other| other == one).count();
    // `max_by_key` gives the last of equals.
    let all: Vec<&str> = said(example).collect();
    all.into_iter().rev().max_by_key(count).unwrap_or_default()
}

/// Whether one of an example's choices is right, and each of them a text.
pub(crate) fn can_choose(example: &Example) -> bool {
    let is_choice = |answer: &String| example.choices.contains(answer);
    let is_empty = |choice: &String| choice.trim().is_empty();
    example.question.is_some()
        && example.answers.iter().any(is_choice)
        && !example.choices.iter().any(is_empty)
}

/// A score of each answer alone, and the mean.
fn each(
    data: &Dataset,
    answers: &[String],
    score: impl Fn(&str, &[String]) -> f64,
) -> CaptionScores {
    let pairs = answers.iter().zip(data.examples());
    let each = pairs.map(|(answer, example)| {
        let right: Vec<String> = said(example).map(str::to_string).collect();
        score(answer, &right)
    });
    CaptionScores::mean_of(each.collect())
}

fn is_one_of(answer: &str, right: &[String], equal: fn(&str, &str) -> bool) -> f64 {
    let is_right = right.iter().any(|right| equal(answer, right));
    f64::from(u8::from(is_right))
}

/// A score of all captions together. They are cut into words as COCO's evaluation cuts them: all people's
/// captions as one text, and all of the model's.
fn captions(
    data: &Dataset,
    answers: &[String],
    score: impl Fn(&[String], &[Vec<String>]) -> CaptionScores,
) -> CaptionScores {
    let examples = data.examples().iter();
    let people: Vec<&str> = examples.flat_map(said).collect();
    let mut people = caption_words_together(&people).into_iter();
    let references = data.examples().iter();
    let references: Vec<Vec<String>> = references
        .map(|example| people.by_ref().take(said(example).count()).collect())
        .collect();
    score(&caption_words_together(answers), &references)
}

#[cfg(test)]
mod tests {
    use super::*;
    use blip2_io::dataset::PictureFile;

    #[test]
    fn a_score_is_called_as_in_a_file() {
        for score in [
            Scoring::ExactMatch,
            Scoring::ExactMatchAnyCase,
            Scoring::Vqa,
            Scoring::MultipleChoice,
            Scoring::CiderD,
            Scoring::Bleu1,
            Scoring::Bleu2,
            Scoring::Bleu3,
            Scoring::Bleu4,
            Scoring::RougeL,
        ] {
            let name = serde_json::to_value(score).unwrap();
            assert_eq!(name, score.name());
        }
    }

    /// What nobody said is no right answer to a model that says nothing.
    #[test]
    fn blank_answers_are_none() {
        let pictures = vec![PictureFile::File("x.png".into())];
        let own = |answers: [&str; 2]| (0, Some("?".into()), answers.map(String::from).to_vec());
        let data = Dataset::new(pictures.clone(), [own(["", "red"]), own(["red", " "])]).unwrap();
        for scoring in [Scoring::ExactMatch, Scoring::RougeL, Scoring::Bleu1] {
            let found = scoring.of(&data, vec!["".into(), "red".into()]).unwrap();
            assert_eq!(found.each[0], 0.0, "{scoring}");
            assert!(found.each[1] > 0.99, "{scoring}");
        }
        let data = Dataset::new(pictures, [own(["", " "])]).unwrap();
        let error = Scoring::ExactMatch.of(&data, vec!["".into()]).unwrap_err();
        assert!(error.to_string().contains(NO_RIGHT_ANSWER), "{error}");
    }

    #[test]
    fn a_score_that_cannot_rise_on_the_data_is_refused() {
        let data = |answers: &[&[&str]]| {
            let pictures = vec![PictureFile::File("x.png".into())];
            let own = |own: &&[&str]| own.iter().map(|text| text.to_string()).collect();
            let asked = || Some("what?".to_string());
            let examples = answers.iter().map(|answers| (0, asked(), own(answers)));
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
            (Scoring::Bleu1, words, true),
            (Scoring::RougeL, words, true),
            (Scoring::MultipleChoice, words, false),
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
