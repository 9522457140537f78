//! Answers that are shown while they grow.

use std::{fmt, iter::FusedIterator};

use blip2_lm::{
    LanguageModel, Session,
    generate::{FinishReason, Stream, StreamToken},
};

use super::{
    Blip2Pipeline, Looked, Options, Prompt, Timings,
    run::{Started, Timed},
};
use crate::Blip2Error;

/// An iterator over the pieces of a growing text; never half a character.
///
/// The pieces together are the text that [`prompt`](Blip2Pipeline::prompt) returns, but for white
/// space at its end. The model runs inside `next`, and only as far as the iterator is driven.
/// Empty pieces are left out.
pub struct AnswerStream<'p> {
    stream: Stream<'p, Timed<Session<&'p LanguageModel>>>,
    started: bool,
    timings: Timings,
}

impl AnswerStream<'_> {
    /// Why the text ended; `None` while it grows, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.stream.finish_reason()
    }

    /// The tokens so far, with their log-probabilities.
    pub fn tokens(&self) -> &[StreamToken] {
        self.stream.tokens()
    }

    /// The times of the stages that ran before the stream began.
    pub fn timings(&self) -> Timings {
        self.timings
    }
}

impl Iterator for AnswerStream<'_> {
    type Item = Result<String, Blip2Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut text = match self.stream.next()? {
                Ok(piece) => piece.text,
                Err(error) => return Some(Err(error.into())),
            };
            if !self.started {
                // The first word's leading space belongs to the tokenizer, not to the text.
                text.drain(..text.len() - text.trim_start().len());
            }
            if !text.is_empty() {
                self.started = true;
                return Some(Ok(text));
            }
        }
    }
}

impl FusedIterator for AnswerStream<'_> {}

impl fmt::Debug for AnswerStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerStream")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Blip2Pipeline {
    pub(super) fn start_stream(
        &self,
        looked: &Looked,
        prompt: Prompt,
        options: &Options,
        mut timings: Timings,
    ) -> Result<AnswerStream<'_>, Blip2Error> {
        let prepared = self.prepare(&[prompt], options)?;
        let features = self.features(looked, &prepared, &mut timings)?;
        let Started {
            session,
            histories,
            generator,
        } = self.start(&features, prepared)?;
        let history = histories.first().map_or(&[][..], Vec::as_slice);
        let stream = generator.stream(session, history)?;
        Ok(AnswerStream {
            stream,
            started: false,
            timings,
        })
    }
}
