//! Answers that are shown while they grow.

use std::{fmt, iter::FusedIterator};

use blip2_lm::generate::{FinishReason, Stream, StreamToken, TrimmedPieces};

use super::{Started, Timed, Timings};
use crate::error::Blip2Error;

/// An iterator over the pieces of a growing text; never half a character.
///
/// The pieces together are the text that the same call returns at once; white space waits until a word
/// follows it. The model runs inside `next`, and only as far as the iterator is driven. Empty pieces are
/// left out.
///
/// It is owned: its session holds a handle of the model, so that a stream can be kept, sent to
/// another thread, and outlive the pipeline that began it. To drop it is to stop.
///
/// ```no_run
/// use blip2_core::{AnswerStream, Blip2Pipeline, image};
///
/// let blip2 = Blip2Pipeline::from_pretrained("models/blip2-opt-2.7b")?;
/// let image = image::open("beach.jpg")?;
/// let stream: AnswerStream = blip2.stream_answer(&image, "How many dogs are there?")?;
/// drop(blip2); // the handle in `stream` is enough
/// std::thread::spawn(move || {
///     for piece in stream {
///         print!("{}", piece?);
///     }
///     Ok::<(), blip2_core::Blip2Error>(())
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AnswerStream {
    growing: Growing,
    text: TrimmedPieces,
    timings: Timings,
}

enum Growing {
    Text(Box<Stream<'static, Timed>>),
    /// A call that was stopped before its first token.
    Stopped(FinishReason),
}

impl AnswerStream {
    pub(super) fn of(started: Started, timings: Timings) -> Result<Self, Blip2Error> {
        let Started {
            session,
            histories,
            generator,
        } = started;
        let history = histories.first().map_or(&[][..], Vec::as_slice);
        let stream = generator.stream(session, history)?;
        Ok(Self {
            growing: Growing::Text(Box::new(stream)),
            text: TrimmedPieces::default(),
            timings,
        })
    }

    pub(super) fn stopped(reason: FinishReason) -> Self {
        Self {
            growing: Growing::Stopped(reason),
            text: TrimmedPieces::default(),
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

impl Iterator for AnswerStream {
    type Item = Result<String, Blip2Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let Growing::Text(stream) = &mut self.growing else {
            return None;
        };
        loop {
            let text = match stream.next()? {
                Ok(piece) => self.text.push(&piece.text),
                Err(error) => return Some(Err(error.into())),
            };
            if !text.is_empty() {
                return Some(Ok(text));
            }
        }
    }
}

impl FusedIterator for AnswerStream {}

impl fmt::Debug for AnswerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerStream")
            .field("tokens", &self.tokens().len())
            .field("finish_reason", &self.finish_reason())
            .finish_non_exhaustive()
    }
}
