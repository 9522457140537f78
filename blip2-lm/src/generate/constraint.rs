//! The hook that decides which token may come next.

use std::sync::Arc;

/// Where the next token goes: a prompt row, and the ids before it.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    row: usize,
    ids: &'a [u32],
    prompt_len: usize,
}

impl<'a> Position<'a> {
    pub(super) fn new(row: usize, ids: &'a [u32], prompt_len: usize) -> Self {
        Self {
            row,
            ids,
            prompt_len,
        }
    }

    /// The prompt row, counted from zero; the same for all its beams and sampled sequences.
    pub fn row(&self) -> usize {
        self.row
    }

    /// The same position, counted as another row: for those who run a batch in parts, and whose
    /// constraint knows the rows of the whole.
    #[must_use]
    pub fn with_row(self, row: usize) -> Self {
        Self { row, ..self }
    }

    /// The prompt ids followed by the generated ones.
    pub fn ids(&self) -> &'a [u32] {
        self.ids
    }

    /// The prompt ids.
    pub fn prompt(&self) -> &'a [u32] {
        &self.ids[..self.prompt_len]
    }

    /// The ids generated so far.
    pub fn generated(&self) -> &'a [u32] {
        &self.ids[self.prompt_len..]
    }
}

/// Which tokens a [`TokenConstraint`] lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextTokens {
    /// All of them.
    Any,
    /// Only these. With none of them a beam ends there, and a greedy or sampled sequence fails
    /// with [`GenerateError::NoAllowedToken`](super::GenerateError::NoAllowedToken).
    Only(Vec<u32>),
}

/// Constrains the next token, in every mode of decoding.
///
/// It runs after the penalties and length rules and before the sampling warpers, where
/// `transformers` runs `prefix_allowed_tokens_fn`. Beams fork and die, so what it answers must
/// depend on the [`Position`] alone. As in `transformers`, if the other rules forbid each token
/// that the constraint allows, in every beam of a row, then the constraint wins.
///
/// ```
/// use blip2_lm::generate::{NextTokens, Position, TokenConstraint};
///
/// /// Only digits, whose ids are 10 to 19, and the end token 2.
/// struct Number;
///
/// impl TokenConstraint for Number {
///     fn next_tokens(&self, at: Position<'_>, _scores: &mut [f32]) -> NextTokens {
///         let mut allowed: Vec<u32> = (10..20).collect();
///         if !at.generated().is_empty() {
///             allowed.push(2);
///         }
///         NextTokens::Only(allowed)
///     }
/// }
/// ```
pub trait TokenConstraint: Send + Sync {
    /// Says which tokens may follow. It may also change `scores`, `[vocab]`: logits in greedy
    /// search and sampling, log-probabilities in beam search; −∞ forbids a token.
    fn next_tokens(&self, at: Position<'_>, scores: &mut [f32]) -> NextTokens;
}

impl<T: TokenConstraint + ?Sized> TokenConstraint for &T {
    fn next_tokens(&self, at: Position<'_>, scores: &mut [f32]) -> NextTokens {
        (**self).next_tokens(at, scores)
    }
}

impl<T: TokenConstraint + ?Sized> TokenConstraint for Arc<T> {
    fn next_tokens(&self, at: Position<'_>, scores: &mut [f32]) -> NextTokens {
        (**self).next_tokens(at, scores)
    }
}
