//! A data set's questions asked, and the answers scored.

use blip2_core::{CancelToken, GenerationConfig, Options, RankOptions};
use blip2_io::{
    dataset::{Dataset, Example},
    preprocessing::DecodeOptions,
};

use crate::{
    error::TrainError,
    group::{Alone, Group, agreed},
    scoring::{Evaluation, Scoring},
    writes::Responds,
};

/// How a model is on a data set by several scores, one evaluation each, in their order. Questions are
/// asked once for all scores of written answers, and once more, of the choices that are given, for those
/// that [choose](Scoring::chooses).
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
    mut done: impl FnMut(usize),
) -> Result<Vec<Evaluation>, TrainError> {
    let options = Options::default().with_generation(generation.clone());
    let asking = Asking {
        data,
        options: &options,
        cancel: &CancelToken::new(),
        batch,
        group: &Alone,
    };
    evaluations(model, scores, asking, &mut done)
}

/// What is asked, and by whom.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) data: &'a Dataset,
    pub(crate) options: &'a Options,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) batch: usize,
    /// Each process asks its share, and all have all answers.
    pub(crate) group: &'a dyn Group,
}

/// The same, until someone cancels.
pub(crate) fn evaluations(
    model: &impl Responds,
    scores: &[Scoring],
    asking: Asking<'_>,
    done: &mut impl FnMut(usize),
) -> Result<Vec<Evaluation>, TrainError> {
    let (mut written, mut chosen) = (None, None);
    let mut found = Vec::new();
    for score in scores {
        let answers = match score.chooses() {
            true => &mut chosen,
            false => &mut written,
        };
        let own = match answers {
            Some(own) => own,
            None => {
                let mut told = |count| match asking.cancel.is_cancelled() {
                    true => Err(TrainError::Cancelled),
                    false => {
                        done(count);
                        Ok(())
                    }
                };
                let given = match score.chooses() {
                    true => choose(model, asking, &mut told),
                    false => self::answers(model, asking, &mut told),
                };
                answers.insert(joined(asking, given)?)
            }
        };
        found.push(score.of(asking.data, own.clone())?);
    }
    Ok(found)
}

/// Answers by the numbers of their examples.
type Answers = Vec<(usize, String)>;

/// The answers of all processes, one for each example.
fn joined(asking: Asking<'_>, own: Result<Answers, TrainError>) -> Result<Vec<String>, TrainError> {
    let mut answers = vec![String::new(); asking.data.len()];
    for (number, answer) in agreed(asking.group, own)?.into_iter().flatten() {
        if let Some(place) = answers.get_mut(number) {
            *place = answer;
        }
    }
    Ok(answers)
}

impl Asking<'_> {
    /// Whether the part number `part` is this process's.
    fn is_own(&self, part: usize) -> bool {
        part % self.group.size() == self.group.rank()
    }
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
    mut done: impl FnMut(usize),
) -> Result<Vec<String>, TrainError> {
    let (options, cancel) = (Options::default(), CancelToken::new());
    let asking = Asking {
        data,
        options: &options,
        cancel: &cancel,
        batch: 1,
        group: &Alone,
    };
    let chosen = choose(model, asking, &mut |count| {
        done(count);
        Ok(())
    });
    joined(asking, chosen)
}

/// The same, until `done` fails: between two examples, each of which takes a moment.
fn choose(
    model: &impl Responds,
    asking: Asking<'_>,
    done: &mut impl FnMut(usize) -> Result<(), TrainError>,
) -> Result<Answers, TrainError> {
    let data = asking.data;
    let options = RankOptions::default();
    let mut chosen = Vec::new();
    for (number, example) in data.examples().iter().enumerate() {
        if !asking.is_own(number) {
            continue;
        }
        let question = asked(example)?;
        let picture = data.pictures()[example.picture].open(&DecodeOptions::default())?;
        let ranked = model.choose(&picture, question, &example.choices, &options)?;
        let first = ranked.into_iter().next();
        let text = first.map(|ranked| ranked.text);
        chosen.push((number, text.unwrap_or_default()));
        done(chosen.len())?;
    }
    Ok(chosen)
}

fn asked(example: &Example) -> Result<&str, TrainError> {
    let question = example.question.as_deref();
    question.ok_or_else(|| TrainError::example(&example.id, "has choices but no question"))
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
    let asking = Asking {
        data,
        options: &options,
        cancel: &CancelToken::new(),
        batch,
        group: &Alone,
    };
    let given = answers(blip2, asking, |answered| {
        done(answered);
        Ok(())
    });
    joined(asking, given)
}

/// The same, until `done` fails.
fn answers(
    blip2: &impl Responds,
    asking: Asking<'_>,
    mut done: impl FnMut(usize) -> Result<(), TrainError>,
) -> Result<Answers, TrainError> {
    let data = asking.data;
    let mut answers = Vec::new();
    let numbers: Vec<usize> = (0..data.len()).collect();
    let asks = |number: &usize| data.examples()[*number].question.is_some();
    let (asked, described): (Vec<usize>, Vec<usize>) = numbers.into_iter().partition(asks);
    let mut answered = 0;
    for (numbers, asks) in [(asked, true), (described, false)] {
        for (number, part) in numbers.chunks(asking.batch.max(1)).enumerate() {
            if !asking.is_own(number) {
                continue;
            }
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
                blip2.respond(&pairs.collect::<Vec<_>>(), asking.options)?
            } else {
                blip2.describe(&pictures.iter().collect::<Vec<_>>(), asking.options)?
            };
            for (&number, answer) in part.iter().zip(found) {
                answers.push((number, answer.text));
            }
            answered += part.len();
            done(answered)?;
        }
    }
    Ok(answers)
}
