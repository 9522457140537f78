//! One run: its arguments, hooks and limits, and the sequences that grow in it.

use std::sync::Arc;

use super::cancel::CancelToken;
use super::constraint::Position;
use super::output::{FinishReason, Generated};
use super::rules::Rules;
use super::stop::{Released, StopWatch};
use super::text::{IncrementalDecoder, TokenDecoder};
use super::{GenerateError, GenerationConfig};

/// What all sequences of a run share.
pub(super) struct Run<'a> {
    pub(super) rules: Rules<'a>,
    pub(super) token_decoder: Option<Arc<dyn TokenDecoder + 'a>>,
    pub(super) cancel: CancelToken,
    /// See [`DecodeSession::remaining_positions`](super::DecodeSession::remaining_positions).
    pub(super) remaining_positions: Option<usize>,
}

impl Run<'_> {
    pub(super) fn config(&self) -> &GenerationConfig {
        self.rules.config()
    }
}

/// A prompt and what has been generated after it.
#[derive(Clone)]
pub(super) struct Sequence {
    row: usize,
    ids: Vec<u32>,
    prompt_len: usize,
    logprobs: Vec<f32>,
    max_new: usize,
    /// Why the sequence ends after `max_new` tokens.
    limit: FinishReason,
    text: Option<TextWatch>,
}

#[derive(Clone, Default)]
struct TextWatch {
    decoder: IncrementalDecoder,
    stops: StopWatch,
}

/// What one more token did to a sequence.
pub(super) struct Growth {
    /// Text that is ready to be shown; empty if the sequence keeps no text.
    pub(super) text: String,
    /// Why the sequence is over, if it is.
    pub(super) finish: Option<FinishReason>,
}

impl Sequence {
    /// Begins after `prompt`, of row `row`. Text is decoded if `with_text`, or if there are stop
    /// strings to look for.
    pub(super) fn new(
        run: &Run<'_>,
        row: usize,
        prompt: &[u32],
        with_text: bool,
    ) -> Result<Self, GenerateError> {
        let wanted = run.config().new_tokens_after(prompt.len())?;
        // The last token is generated without being fed.
        let possible = run
            .remaining_positions
            .map_or(usize::MAX, |positions| positions.saturating_add(1));
        let (max_new, limit) = if wanted <= possible {
            (wanted, FinishReason::MaxTokens)
        } else {
            (possible, FinishReason::ContextFull)
        };
        let with_text = with_text || !run.config().stop_strings.is_empty();
        Ok(Self {
            row,
            ids: prompt.to_vec(),
            prompt_len: prompt.len(),
            logprobs: Vec::new(),
            max_new,
            limit,
            text: with_text.then(TextWatch::default),
        })
    }

    pub(super) fn position(&self) -> Position<'_> {
        Position::new(self.row, &self.ids, self.prompt_len)
    }

    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// The number of generated tokens.
    pub(super) fn len(&self) -> usize {
        self.ids.len() - self.prompt_len
    }

    /// The most tokens that can be generated.
    pub(super) fn max_new(&self) -> usize {
        self.max_new
    }

    /// Adds a token with its log-probability.
    pub(super) fn push(
        &mut self,
        token: u32,
        logprob: f32,
        run: &Run<'_>,
    ) -> Result<Growth, GenerateError> {
        self.ids.push(token);
        self.logprobs.push(logprob);
        let mut text = String::new();
        let mut finish = None;
        if run.rules.is_end(token) {
            finish = Some(FinishReason::Eos);
        } else if let (Some(watch), Some(decoder)) = (&mut self.text, &run.token_decoder) {
            let piece = watch.decoder.push(token, &**decoder)?;
            let released = watch.stops.push(&piece, &run.config().stop_strings);
            text = released.text;
            finish = released.stopped.then_some(FinishReason::StopString);
        }
        if finish.is_none() && self.len() >= self.max_new {
            finish = Some(self.limit);
        }
        Ok(Growth { text, finish })
    }

    /// The text still held back, once the sequence is over for another reason than a stop string.
    pub(super) fn flush_text(&mut self, run: &Run<'_>) -> Result<String, GenerateError> {
        let (Some(watch), Some(decoder)) = (&mut self.text, &run.token_decoder) else {
            return Ok(String::new());
        };
        let held = watch.decoder.flush(&**decoder)?;
        let Released { mut text, stopped } = watch.stops.push(&held, &run.config().stop_strings);
        if !stopped {
            text.push_str(&watch.stops.flush());
        }
        Ok(text)
    }

    pub(super) fn into_generated(
        mut self,
        finish_reason: FinishReason,
        score: Option<f32>,
    ) -> Generated {
        Generated {
            tokens: self.ids.split_off(self.prompt_len),
            logprobs: self.logprobs,
            top_logprobs: Vec::new(),
            score,
            finish_reason,
        }
    }
}

/// The error for logits that are no distribution.
pub(super) fn bad_logits(sequence: &Sequence, value: f32) -> GenerateError {
    GenerateError::BadLogits {
        row: sequence.row(),
        step: sequence.len(),
        value,
    }
}

/// The error for a sequence that cannot go on.
pub(super) fn no_allowed_token(sequence: &Sequence) -> GenerateError {
    GenerateError::NoAllowedToken {
        row: sequence.row(),
        step: sequence.len(),
    }
}
