//! Questions answered, in every form but the typed and the ranked ones.

use super::{Answer, AnswerStream, Answers, Options, Picture, run};
use crate::error::Blip2Error;

pub(crate) fn answer_batch<'a, W: Answers, P: Into<Picture<'a>>, Q: AsRef<str>>(
    writer: &W,
    pairs: impl IntoIterator<Item = (P, Q)>,
    options: &Options,
) -> Result<Vec<Answer>, Blip2Error> {
    let template = options.template.as_ref();
    let prompt = |question: Q| writer.question(question.as_ref(), template);
    run::run_made(writer, pairs, prompt, options)
}

pub(crate) fn answer_each<'a, W: Answers, P: Into<Picture<'a>>, Q: AsRef<str>>(
    writer: &W,
    pairs: impl IntoIterator<Item = (P, Q)>,
    options: &Options,
) -> Vec<Result<Answer, Blip2Error>> {
    let template = options.template.as_ref();
    let prompt = |question: Q| writer.question(question.as_ref(), template);
    run::run_each(writer, pairs, prompt, options)
}

pub(crate) fn stream_answer<W: Answers>(
    writer: &W,
    picture: Picture<'_>,
    question: &str,
    options: &Options,
) -> Result<AnswerStream, Blip2Error> {
    let prompt = writer.question(question, options.template.as_ref())?;
    run::stream(writer, picture, prompt, options)
}
