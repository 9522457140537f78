//! Answers that are shown while they grow.

use std::{fmt, iter::FusedIterator};

use blip2_lm::generate::{FinishReason, Stream, StreamToken};

use super::{Started, Timed, Timings};
use crate::Blip2Error;

/// An iterator over the pieces of a growing text; never half a character.
///
/// The pieces together are the text that the same call returns at once, but for white space at its
/// end. The model runs inside `next`, and only as far as the iterator is driven. Empty pieces are
/// left out.
pub struct AnswerStream<'p> {
    growing: Growing<'p>,
    started: bool,
    timings: Timings,
}

// The lifetime is the model session's alone: all else in a stream is owned.
enum Growing<'p> {
    Text(Box<Stream<'static, Timed<'p>>>),
    /// A call that was stopped before its first token.
    Stopped(FinishReason),
}

impl<'p> AnswerStream<'p> {
    pub(super) fn of(started: Started<'p>, timings: Timings) -> Result<Self, Blip2Error> {
        let Started {
            session,
            histories,
            generator,
        } = started;
        let history = histories.first().map_or(&[][..], Vec::as_slice);
        let stream = generator.stream(session, history)?;
        Ok(Self {
            growing: Growing::Text(Box::new(stream)),
            started: false,
            timings,
        })
    }

    pub(super) fn stopped(reason: FinishReason) -> Self {
        Self {
            growing: Growing::Stopped(reason),
            started: false,
            timings: Timings::default(),
        }
    }

    /// Why the text ended; `None` while it grows, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        match &self.growing {
            Growing::Text(stream) => stream.finish_reason(),
            Growing::Stopped(reason) => Some(*reason),
        }
    }

    /// The tokens so far, with their log-probabilities.
    pub fn tokens(&self) -> &[StreamToken] {
        match &self.growing {
            Growing::Text(stream) => stream.tokens(),
            Growing::Stopped(_) => &[],
        }
    }

    /// The times of the stages that ran before the stream began.
    pub fn timings(&self) -> Timings {
        self.timings
    }
}

impl Iterator for AnswerStream<'_> {
    type Item = Result<String, Blip2Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let Growing::Text(stream) = &mut self.growing else {
            return None;
        };
        loop {
            let mut text = match stream.next()? {
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
            .field("tokens", &self.tokens().len())
            .field("finish_reason", &self.finish_reason())
            .finish_non_exhaustive()
    }
}
