//! Running a call: pictures and prompts in, answers out.

use blip2_io::Tokenizer;
use blip2_lm::generate::{FinishReason, Generated, cut_at_stop_string};

use super::{Answer, AnswerStream, Options, Picture, Started, Timings, each::each, writer::Writer};
use crate::error::Blip2Error;

/// Encodes pictures and writes after their prompts.
pub(super) fn run<W: Writer>(
    writer: &W,
    pictures: &[Picture<'_>],
    prompts: &[W::Prompt],
    options: &Options,
) -> Result<Vec<Answer>, Blip2Error> {
    if pictures.is_empty() {
        return Ok(Vec::new());
    }
    let options = options.begun();
    // What cannot be done is refused before the expensive part, not after it.
    let prepared = writer.prepare(prompts, &options)?;
    let looked = writer.look_at(pictures, options.cancel());
    let written = looked.and_then(|(looked, timings)| writer.write(&looked, prepared, timings));
    or_stopped(written, prompts.len())
}

/// [`run`] of prompts that are made of something, each of which may be at fault.
pub(crate) fn run_made<'a, W: Writer, P: Into<Picture<'a>>, Q>(
    writer: &W,
    pairs: impl IntoIterator<Item = (P, Q)>,
    prompt: impl Fn(Q) -> Result<W::Prompt, Blip2Error>,
    options: &Options,
) -> Result<Vec<Answer>, Blip2Error> {
    let (mut pictures, mut prompts) = (Vec::new(), Vec::new());
    for (index, (picture, text)) in pairs.into_iter().enumerate() {
        pictures.push(picture.into());
        prompts.push(prompt(text).map_err(|error| Blip2Error::item(index, error))?);
    }
    run(writer, &pictures, &prompts, options)
}

/// [`run_made`] with a result for each pair: what is at fault is left out of the batch.
pub(super) fn run_each<'a, W: Writer, P: Into<Picture<'a>>, Q>(
    writer: &W,
    pairs: impl IntoIterator<Item = (P, Q)>,
    prompt: impl Fn(Q) -> Result<W::Prompt, Blip2Error>,
    options: &Options,
) -> Vec<Result<Answer, Blip2Error>> {
    let options = options.begun();
    let (mut pictures, mut prompts) = (Vec::new(), Vec::new());
    for (picture, text) in pairs {
        pictures.push(picture.into());
        prompts.push(prompt(text));
    }
    each(prompts, |places, prompts| {
        let pictures: Vec<Picture<'_>> = places.iter().map(|&place| pictures[place]).collect();
        run(writer, &pictures, prompts, &options)
    })
}

/// Starts a stream after one prompt about one picture.
pub(super) fn stream<W: Writer>(
    writer: &W,
    picture: Picture<'_>,
    prompt: W::Prompt,
    options: &Options,
) -> Result<AnswerStream, Blip2Error> {
    let options = options.begun();
    let prepared = writer.prepare(&[prompt], &options)?;
    let started = writer
        .look_at(&[picture], options.cancel())
        .map_err(Blip2Error::of_item)
        .and_then(|(looked, mut timings)| {
            let started = writer.start_one(&looked, prepared, &mut timings)?;
            Ok((started, timings))
        });
    grow(started)
}

/// Starts a stream after one prompt about a picture that was looked at.
pub(super) fn stream_seen<W: Writer>(
    writer: &W,
    looked: &W::Looked,
    prompt: W::Prompt,
    options: &Options,
) -> Result<AnswerStream, Blip2Error> {
    let options = options.begun();
    let prepared = writer.prepare(&[prompt], &options)?;
    let mut timings = Timings::default();
    let started = writer.start_one(looked, prepared, &mut timings);
    grow(started.map(|started| (started, timings)))
}

/// The stream of a decode that was started, or an empty one of a call that was stopped before.
pub(crate) fn grow(
    started: Result<(Started, Timings), Blip2Error>,
) -> Result<AnswerStream, Blip2Error> {
    match started {
        Ok((started, timings)) => AnswerStream::of(started, timings),
        Err(error) => match error.stopped() {
            Some(reason) => Ok(AnswerStream::stopped(reason)),
            None => Err(error),
        },
    }
}

/// What there is of answers that were stopped before their first token: nothing.
pub(crate) fn or_stopped(
    written: Result<Vec<Answer>, Blip2Error>,
    count: usize,
) -> Result<Vec<Answer>, Blip2Error> {
    let Err(error) = &written else {
        return written;
    };
    match error.stopped() {
        Some(reason) => Ok((0..count).map(|_| Answer::stopped(reason)).collect()),
        None => written,
    }
}

/// Runs a decode to its end.
pub(crate) fn decode(
    started: Started,
    tokenizer: &Tokenizer,
    mut timings: Timings,
) -> Result<Vec<Answer>, Blip2Error> {
    let Started {
        mut session,
        histories,
        generator,
    } = started;
    let generated = generator.generate(&mut session, &histories)?;
    session.note(&mut timings);
    let stop_strings = &generator.config().stop_strings;
    let finish = |generated: Generated| answer(&generated, tokenizer, stop_strings, timings);
    let best = |candidates: Vec<Generated>| {
        let mut candidates = candidates.into_iter().map(finish);
        let mut best = candidates.next().ok_or_else(|| Blip2Error::Rows {
            reason: "a prompt has no result".into(),
        })??;
        best.alternatives = candidates.collect::<Result<_, _>>()?;
        Ok(best)
    };
    generated.into_iter().map(best).collect()
}

/// What was generated as an answer.
pub(super) fn answer(
    generated: &Generated,
    tokenizer: &Tokenizer,
    stop_strings: &[String],
    timings: Timings,
) -> Result<Answer, Blip2Error> {
    let text = tokenizer.decode(generated.content(), true)?;
    let text = cut_at_stop_string(&text, stop_strings).trim().to_string();
    Ok(Answer::new(text, generated, tokenizer, timings))
}

impl Blip2Error {
    /// Why a call ended, if it was stopped.
    fn stopped(&self) -> Option<FinishReason> {
        match self {
            Self::Cancelled => Some(FinishReason::Cancelled),
            Self::Deadline => Some(FinishReason::Deadline),
            _ => None,
        }
    }
}
