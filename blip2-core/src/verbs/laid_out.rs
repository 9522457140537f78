//! Prompts that are laid out, and the start of what is written after them.

use std::time::Instant;

use blip2_lm::{
    LmError,
    generate::{Generator, JoinSession, RewindSession, Speculative},
};

use super::stage::{Started, Timed};
use crate::{error::Blip2Error, text::PromptRows};

/// Prompts that are laid out: each row's history is what its lengths and penalties count.
pub(crate) struct LaidOut {
    pub(crate) rows: PromptRows,
    pub(crate) new_tokens: usize,
    histories: Vec<Vec<u32>>,
    generator: Generator<'static>,
}

impl LaidOut {
    pub(crate) fn new(
        rows: PromptRows,
        histories: Vec<Vec<u32>>,
        generator: Generator<'static>,
    ) -> Result<Self, Blip2Error> {
        let new_tokens = histories
            .iter()
            .map(|history| generator.config().new_tokens_after(history.len()))
            .try_fold(0, |most, tokens| tokens.map(|tokens| most.max(tokens)))?;
        Ok(Self {
            rows,
            new_tokens,
            histories,
            generator,
        })
    }

    /// How many sequences of each prompt are held at a time.
    pub(crate) fn beams(&self) -> usize {
        let config = self.generator.config();
        config.num_beams.max(config.num_return_sequences)
    }

    /// Whether a single sequence grows: a draft writes ahead of that alone.
    pub(crate) fn writes_one(&self) -> bool {
        self.rows.len() == 1 && self.beams() == 1
    }

    /// The decode, which `session` runs, perhaps with a draft that writes ahead of it. Preparing both began
    /// at `since`.
    pub(crate) fn started<S, D>(self, session: S, draft: Option<D>, since: Instant) -> Started
    where
        S: RewindSession<Error = LmError> + JoinSession + Send + 'static,
        D: RewindSession<Error = LmError> + Send + 'static,
    {
        let session = match draft {
            Some(draft) => {
                let session = Speculative::new(session, draft);
                let drafts = session.drafts();
                Timed::new(session, since.elapsed()).counting(drafts)
            }
            None => Timed::new(session, since.elapsed()),
        };
        Started {
            session,
            histories: self.histories,
            generator: self.generator,
        }
    }
}
