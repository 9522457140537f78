//! A data set's questions asked, and the answers scored.

use std::collections::BTreeMap;

use blip2_core::{CancelToken, GenerationConfig, Options, Picture, RankOptions};
use blip2_io::{
    dataset::{Dataset, DatasetError, Example, OnBroken},
    preprocessing::DecodeOptions,
    video::Video,
};
use serde::{Deserialize, Serialize};

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
        on_broken: OnBroken::Fail,
        group: &Alone,
    };
    let found = evaluations(model, scores, asking, &mut done)?;
    Ok(found.evaluations)
}

/// What is asked, and by whom.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) data: &'a Dataset,
    pub(crate) options: &'a Options,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) batch: usize,
    /// What becomes of pictures that can no longer be decoded.
    pub(crate) on_broken: OnBroken,
    /// Each process asks its share, and all have all answers.
    pub(crate) group: &'a dyn Group,
}

/// How a model is on the examples that can be used, and what is wrong with the others.
#[derive(Default)]
pub(crate) struct Evaluated {
    pub(crate) evaluations: Vec<Evaluation>,
    /// By the examples' numbers.
    pub(crate) faults: BTreeMap<usize, String>,
}

/// The same, until someone cancels.
pub(crate) fn evaluations(
    model: &impl Responds,
    scores: &[Scoring],
    asking: Asking<'_>,
    done: &mut impl FnMut(usize),
) -> Result<Evaluated, TrainError> {
    let mut told = |count| match asking.cancel.is_cancelled() {
        true => Err(TrainError::Cancelled),
        false => {
            done(count);
            Ok(())
        }
    };
    let (mut written, mut chosen) = (None, None);
    for score in scores {
        if score.chooses() && chosen.is_none() {
            chosen = Some(joined(asking, choose(model, asking, &mut told))?);
        } else if !score.chooses() && written.is_none() {
            written = Some(joined(asking, answers(model, asking, &mut told))?);
        }
    }
    let given = [&written, &chosen].into_iter().flatten();
    let faults: BTreeMap<usize, String> = given.flat_map(|given| given.faults.clone()).collect();
    let left = match faults.is_empty() {
        true => None,
        false => Some(asking.data.clone().without(&faults, OnBroken::Skip)?),
    };
    let data = left.as_ref().unwrap_or(asking.data);
    let evaluations = scores.iter().map(|score| {
        let given = match score.chooses() {
            true => &chosen,
            false => &written,
        };
        let given = given
            .iter()
            .flat_map(|given| given.answers.iter().enumerate());
        let usable = given.filter(|(number, _)| !faults.contains_key(number));
        score.of(data, usable.map(|(_, answer)| answer.clone()).collect())
    });
    Ok(Evaluated {
        evaluations: evaluations.collect::<Result<_, _>>()?,
        faults,
    })
}

/// Answers by the numbers of their examples, and what is wrong with examples that have none.
#[derive(Default, Serialize, Deserialize)]
struct Given {
    answers: Vec<(usize, String)>,
    faults: BTreeMap<usize, String>,
}

/// An answer for each example, and what is wrong with those that have none.
struct Joined {
    answers: Vec<String>,
    faults: BTreeMap<usize, String>,
}

/// The answers of all processes.
fn joined(asking: Asking<'_>, own: Result<Given, TrainError>) -> Result<Joined, TrainError> {
    let mut answers = vec![String::new(); asking.data.len()];
    let mut faults = BTreeMap::new();
    for given in agreed(asking.group, own)? {
        for (number, answer) in given.answers {
            if let Some(place) = answers.get_mut(number) {
                *place = answer;
            }
        }
        faults.extend(given.faults);
    }
    Ok(Joined { answers, faults })
}

impl Asking<'_> {
    /// Whether the part number `part` is this process's.
    fn is_own(&self, part: usize) -> bool {
        part % self.group.size() == self.group.rank()
    }

    /// What an example shows; `None` where it can no longer be decoded and is left out, for a reason that
    /// joins `faults`.
    fn open(
        &self,
        number: usize,
        faults: &mut BTreeMap<usize, String>,
    ) -> Result<Option<Video>, TrainError> {
        let example = &self.data.examples()[number];
        match self.data.open(example.picture, &DecodeOptions::default()) {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if self.on_broken == OnBroken::Skip => {
                faults.insert(number, error.to_string());
                Ok(None)
            }
            Err(error) => {
                let records = vec![self.data.broken_record(example, error.to_string())];
                Err(DatasetError::Broken { records }.into())
            }
        }
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
        on_broken: OnBroken::Fail,
        group: &Alone,
    };
    let chosen = choose(model, asking, &mut |count| {
        done(count);
        Ok(())
    });
    Ok(joined(asking, chosen)?.answers)
}

/// The same, until `done` fails: between two examples, each of which takes a moment.
fn choose(
    model: &impl Responds,
    asking: Asking<'_>,
    done: &mut impl FnMut(usize) -> Result<(), TrainError>,
) -> Result<Given, TrainError> {
    let data = asking.data;
    let options = RankOptions::default();
    let mut given = Given::default();
    for (number, example) in data.examples().iter().enumerate() {
        if !asking.is_own(number) {
            continue;
        }
        let question = asked(example)?;
        let Some(seen) = asking.open(number, &mut given.faults)? else {
            continue;
        };
        let picture = shown(data, &seen)?;
        let ranked = model.choose(picture, question, &example.choices, &options)?;
        let first = ranked.into_iter().next();
        let text = first.map(|ranked| ranked.text);
        given.answers.push((number, text.unwrap_or_default()));
        done(given.answers.len())?;
    }
    Ok(given)
}

/// A picture, or a video, as the model is shown it.
fn shown<'s>(data: &Dataset, seen: &'s Video) -> Result<Picture<'s>, TrainError> {
    if data.is_of_videos() {
        return Ok(seen.into());
    }
    let first = seen.frames().first().map(Picture::from);
    first.ok_or_else(|| TrainError::Batch {
        reason: "a picture has no pixels".into(),
    })
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
        on_broken: OnBroken::Fail,
        group: &Alone,
    };
    let given = answers(blip2, asking, |answered| {
        done(answered);
        Ok(())
    });
    Ok(joined(asking, given)?.answers)
}

/// The same, until `done` fails.
fn answers(
    blip2: &impl Responds,
    asking: Asking<'_>,
    mut done: impl FnMut(usize) -> Result<(), TrainError>,
) -> Result<Given, TrainError> {
    let data = asking.data;
    let mut given = Given::default();
    let numbers: Vec<usize> = (0..data.len()).collect();
    let asks = |number: &usize| data.examples()[*number].question.is_some();
    let (asked, described): (Vec<usize>, Vec<usize>) = numbers.into_iter().partition(asks);
    let mut answered = 0;
    for (numbers, asks) in [(asked, true), (described, false)] {
        for (number, part) in numbers.chunks(asking.batch.max(1)).enumerate() {
            if !asking.is_own(number) {
                continue;
            }
            let (mut shown_of, mut opened) = (Vec::new(), Vec::new());
            for &number in part {
                if let Some(seen) = asking.open(number, &mut given.faults)? {
                    shown_of.push(number);
                    opened.push(seen);
                }
            }
            if opened.is_empty() {
                continue;
            }
            let pictures = opened.iter().map(|seen| shown(data, seen));
            let pictures = pictures.collect::<Result<Vec<_>, _>>()?;
            let found = if asks {
                let pairs = shown_of.iter().zip(&pictures).map(|(&number, &picture)| {
                    let question = data.examples()[number].question.as_deref();
                    (picture, question.unwrap_or_default())
                });
                blip2.respond(&pairs.collect::<Vec<_>>(), asking.options)?
            } else {
                blip2.describe(&pictures, asking.options)?
            };
            for (&number, answer) in shown_of.iter().zip(found) {
                given.answers.push((number, answer.text));
            }
            answered += part.len();
            done(answered)?;
        }
    }
    Ok(given)
}
