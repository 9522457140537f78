//! What a generation returns.

use serde::{Deserialize, Serialize};

/// Why a sequence ended. Where several reasons meet in one token, the first listed here holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model chose one of `eos_token_id`.
    Eos,
    /// The text holds one of `stop_strings`.
    StopString,
    /// `max_new_tokens` or `max_length` was reached.
    MaxTokens,
    /// The model's context holds no more tokens.
    ContextFull,
    /// A [`CancelToken`](super::CancelToken) was cancelled.
    Cancelled,
    /// The deadline of a [`CancelToken`](super::CancelToken) passed.
    Deadline,
}

/// One generated sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Generated {
    /// The generated ids without the prompt. The end token that finished the sequence, if one did,
    /// is the last of them; see [`content`](Self::content).
    pub tokens: Vec<u32>,
    /// For each token its natural log-probability in the model's own distribution (the log-softmax
    /// of the raw logits), before penalties, constraints and sampling change the scores.
    pub logprobs: Vec<f32>,
    /// For each token the likeliest ones of that step in the same distribution, the likeliest first, as many as
    /// [`top_logprobs`](super::GenerationConfig::top_logprobs) asked for; empty if it asked for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_logprobs: Vec<Vec<StreamToken>>,
    /// Of a beam search only: the sum of the tokens' processed log-probabilities divided by
    /// `tokens.len()` to the power `length_penalty`, `sequences_scores` of `transformers`.
    pub score: Option<f32>,
    /// Why the sequence ended.
    pub finish_reason: FinishReason,
}

impl Generated {
    /// The tokens that make up the text: [`tokens`](Self::tokens) without the final end token.
    pub fn content(&self) -> &[u32] {
        match (self.finish_reason, self.tokens.split_last()) {
            (FinishReason::Eos, Some((_, content))) => content,
            _ => &self.tokens,
        }
    }
}

/// A generated token, or one that might have been.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamToken {
    /// Its id.
    pub id: u32,
    /// Its log-probability, as in [`Generated::logprobs`].
    pub logprob: f32,
}
