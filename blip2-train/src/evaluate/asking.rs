//! A data set's questions asked, each process its share, and the answers scored.

use std::collections::BTreeMap;

use blip2_core::{CancelToken, Options, Picture, RankOptions};
use blip2_io::{
    dataset::{Dataset, DatasetError, Example, OnBroken},
    preprocessing::DecodeOptions,
    video::Video,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError,
    group::{Group, agreed},
    scoring::{Evaluation, Scoring},
    writes::Responds,
};

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

/// What a model says to a data set's examples: what it writes, and which of the choices it finds likeliest,
/// each if it was asked for.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) written: Option<Given>,
    pub(crate) chosen: Option<Given>,
}

/// How a model is on a data set by several scores, until someone cancels.
pub(crate) fn evaluations(
    model: &impl Responds,
    scores: &[Scoring],
    asking: Asking<'_>,
    done: &mut impl FnMut(usize),
) -> Result<Evaluated, TrainError> {
    let mut heard = Heard::default();
    for score in scores {
        hear(model, score.chooses(), asking, &mut heard, done)?;
    }
    scored(scores, asking.data, &heard)
}

/// Asks for answers that the model writes, or chooses, unless they were heard. What was answered before
/// something failed is in `heard` too.
pub(crate) fn hear(
    model: &impl Responds,
    chooses: bool,
    asking: Asking<'_>,
    heard: &mut Heard,
    done: &mut impl FnMut(usize),
) -> Result<(), TrainError> {
    let mut told = |count| match asking.cancel.is_cancelled() {
        true => Err(TrainError::Cancelled),
        false => {
            done(count);
            Ok(())
        }
    };
    let place = match chooses {
        true => &mut heard.chosen,
        false => &mut heard.written,
    };
    if place.is_some() {
        return Ok(());
    }
    let given = place.insert(Given::default());
    let asked = match chooses {
        true => choose(model, asking, given, &mut told),
        false => answers(model, asking, given, &mut told),
    };
    if asking.group.size() == 1 {
        return asked;
    }
    *given = given_by_all(asking.group, asked.map(|()| given.clone()))?;
    Ok(())
}

/// What was heard, by each of the scores, on the examples that can be used.
pub(crate) fn scored(
    scores: &[Scoring],
    data: &Dataset,
    heard: &Heard,
) -> Result<Evaluated, TrainError> {
    let given = [&heard.written, &heard.chosen].into_iter().flatten();
    let faults: BTreeMap<usize, String> = given.flat_map(|given| given.faults.clone()).collect();
    let left = match faults.is_empty() {
        true => None,
        false => Some(data.clone().without(&faults, OnBroken::Skip)?),
    };
    let left = left.as_ref().unwrap_or(data);
    let evaluations = scores.iter().map(|score| {
        let given = match score.chooses() {
            true => &heard.chosen,
            false => &heard.written,
        };
        let given = given.iter().flat_map(|given| &given.answers);
        let usable = given.filter(|(number, _)| !faults.contains_key(number));
        score.of(left, usable.map(|(_, answer)| answer.clone()).collect())
    });
    Ok(Evaluated {
        evaluations: evaluations.collect::<Result<_, _>>()?,
        faults,
    })
}

/// Answers by the numbers of their examples, and what is wrong with examples that have none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) answers: BTreeMap<usize, String>,
    pub(crate) faults: BTreeMap<usize, String>,
}

/// The answers of all processes.
fn given_by_all(group: &dyn Group, own: Result<Given, TrainError>) -> Result<Given, TrainError> {
    let mut all = Given::default();
    for given in agreed(group, own)? {
        all.answers.extend(given.answers);
        all.faults.extend(given.faults);
    }
    Ok(all)
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
        match self.data.open_of(example, &DecodeOptions::default()) {
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

/// The likeliest of each example's choices, until `done` fails: between two examples, each of which takes
/// a moment.
fn choose(
    model: &impl Responds,
    asking: Asking<'_>,
    given: &mut Given,
    done: &mut impl FnMut(usize) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let data = asking.data;
    let options = RankOptions::default();
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
        given.answers.insert(number, text.unwrap_or_default());
        done(given.answers.len())?;
    }
    Ok(())
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

/// Answers all questions, and describes the pictures of examples without a question, until `done` fails.
fn answers(
    blip2: &impl Responds,
    asking: Asking<'_>,
    given: &mut Given,
    done: &mut impl FnMut(usize) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let data = asking.data;
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
                given.answers.insert(number, answer.text);
            }
            answered += part.len();
            done(answered)?;
        }
    }
    Ok(())
}
