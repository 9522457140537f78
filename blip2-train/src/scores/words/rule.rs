//! A rule of the tokenizer: what a token looks like, what follows it, and what it is written as.

use super::written::Written;

/// One kind of token.
///
/// The rule that matches most of the text counts, with what follows the token; among equals the first.
pub(super) struct Rule {
    /// The token, as a regular expression.
    pub token: String,
    /// What follows it and is left for the next token.
    pub ahead: Option<String>,
    /// What becomes of it.
    pub written: Written,
    /// Whether the full stop at its end ends the sentence as well, and is a token again.
    pub stops_again: bool,
}

/// A token that stays as it is.
pub(super) fn token(token: impl Into<String>) -> Rule {
    Rule {
        token: token.into(),
        ahead: None,
        written: Written::AsIs,
        stops_again: false,
    }
}

impl Rule {
    /// Only before this.
    pub(super) fn before(mut self, ahead: impl Into<String>) -> Self {
        self.ahead = Some(ahead.into());
        self
    }

    /// Written so.
    pub(super) fn written(mut self, written: Written) -> Self {
        self.written = written;
        self
    }

    /// The full stop at its end is a token again.
    pub(super) fn stopping_again(mut self) -> Self {
        self.stops_again = true;
        self
    }
}
