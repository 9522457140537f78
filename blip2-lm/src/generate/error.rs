//! What can go wrong while generating.

use std::error::Error;

use blip2_io::ErrorKind;

/// Any error, as models, token decoders and constraints report theirs.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why nothing could be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A generation argument is outside its range, or does not go with another one.
    #[error("invalid generation argument `{argument}` = {value}: {reason}")]
    InvalidArgument {
        /// The argument's Hugging Face name.
        argument: &'static str,
        /// The value that was given.
        value: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// The prompts do not go with the session.
    #[error(
        "{given} prompt(s) were given for a session of {expected} row(s): give each row its ids"
    )]
    PromptCount {
        /// The number of prompts given.
        given: usize,
        /// The number of prompt rows of the session.
        expected: usize,
    },
    /// Text is needed, but there is nothing to make it with.
    #[error("{need} needs a token decoder: give one with `Generator::token_decoder`")]
    NoTokenDecoder {
        /// What asks for text.
        need: &'static str,
    },
    /// Logits whose number is not a multiple of the vocabulary's size.
    #[error("{values} logits cannot be rows of a vocabulary of {vocab}")]
    LogitsShape {
        /// The number of logits.
        values: usize,
        /// The size of the vocabulary.
        vocab: usize,
    },
    /// The session answered with logits of another shape than it was asked for.
    #[error(
        "the model returned logits [{rows}, {vocab}] where [{expected_rows}, {expected_vocab}] was due"
    )]
    SessionShape {
        /// Rows returned.
        rows: usize,
        /// Vocabulary returned.
        vocab: usize,
        /// Rows asked for.
        expected_rows: usize,
        /// The session's vocabulary.
        expected_vocab: usize,
    },
    /// The model's logits are no distribution: one is NaN or +∞, or all are −∞.
    #[error(
        "the model's logits for row {row} at generated token {step} hold {value}{}: \
         a weight is no number (`blip2 inspect --numbers` names it), or the precision is too narrow (T5 \
         overflows in f16)",
        if *.value == f32::NEG_INFINITY { " only" } else { "" }
    )]
    BadLogits {
        /// The prompt row.
        row: usize,
        /// How many tokens had been generated.
        step: usize,
        /// NaN, +∞, or −∞ if no logit is above that.
        value: f32,
    },
    /// An extreme penalty or temperature, or the constraint, made a score NaN or +∞.
    #[error(
        "a score for row {row} became {value} after {step} generated token(s): \
         `repetition_penalty`, `temperature` or the constraint is too extreme"
    )]
    BadScores {
        /// The prompt row.
        row: usize,
        /// How many tokens had been generated.
        step: usize,
        /// NaN or +∞.
        value: f32,
    },
    /// The arguments or the constraint forbid every token.
    #[error(
        "no token is allowed for row {row} after {step} generated token(s): \
         relax the constraint, `bad_words_ids` or `no_repeat_ngram_size`"
    )]
    NoAllowedToken {
        /// The prompt row.
        row: usize,
        /// How many tokens had been generated.
        step: usize,
    },
    /// The constraint allowed a token that the model does not have.
    #[error("the constraint allowed token {token}, outside the vocabulary of {vocab}")]
    ConstraintToken {
        /// The token.
        token: u32,
        /// The size of the vocabulary.
        vocab: usize,
    },
    /// The model failed.
    #[error("the language model failed: {0}")]
    Session(#[source] BoxError),
    /// The tokens could not be decoded to text.
    #[error("the generated tokens could not be decoded: {0}")]
    Decode(#[source] BoxError),
}

impl GenerateError {
    /// What is at fault. What the model or a token decoder said of itself is
    /// [`Internal`](ErrorKind::Internal).
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidArgument { .. }
            | Self::BadScores { .. }
            | Self::NoAllowedToken { .. }
            | Self::ConstraintToken { .. } => ErrorKind::Invalid,
            Self::NoTokenDecoder { .. } => ErrorKind::Missing,
            Self::PromptCount { .. } | Self::LogitsShape { .. } | Self::SessionShape { .. } => {
                ErrorKind::Mismatch
            }
            Self::BadLogits { .. } => ErrorKind::Malformed,
            Self::Session(_) | Self::Decode(_) => ErrorKind::Internal,
        }
    }

    pub(super) fn session(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Session(Box::new(error))
    }

    pub(super) fn argument(
        argument: &'static str,
        value: impl std::fmt::Display,
        reason: impl Into<String>,
    ) -> Self {
        Self::InvalidArgument {
            argument,
            value: value.to_string(),
            reason: reason.into(),
        }
    }
}
