//! What can go wrong in a language model.

use blip2_io::{ErrorKind, config::ConfigError};

use crate::generate::GenerateError;

/// Why a language model refused its configuration or input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmError {
    /// A configuration whose numbers make no sense together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tensor or list whose shape does not go with the model or the other inputs.
    #[error("{input} has the shape {found:?} where {expected} is due")]
    Shape {
        /// The input.
        input: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that is due.
        expected: String,
    },
    /// A token id that the model has no embedding for.
    #[error("row {row} holds the token {id}, outside the vocabulary of {vocab}")]
    Token {
        /// The row.
        row: usize,
        /// The token.
        id: u32,
        /// The size of the vocabulary.
        vocab: usize,
    },
    /// A row of padding only.
    #[error("row {row} is padding only; a prompt needs at least one token that counts")]
    NothingToRead {
        /// The row.
        row: usize,
    },
    /// A prompt, or a prompt and what was generated after it, that is longer than the context.
    #[error(
        "row {row} has {tokens} tokens, but the context holds {context}; shorten the prompt or \
             generate less"
    )]
    ContextTooLong {
        /// The row.
        row: usize,
        /// Its tokens, padding not counted.
        tokens: usize,
        /// What the context holds.
        context: usize,
    },
    /// A kind of language model that this crate does not know.
    #[error("this language model is not supported: {0}")]
    Unsupported(String),
    /// An encoder-decoder without a token to start its answers from.
    #[error("the model needs a decoder_start_token_id (or pad_token_id) in its text_config")]
    NoStartToken,
    /// A start token that the model has no embedding for.
    #[error("decoder_start_token_id = {id} is outside the vocabulary of {vocab}")]
    StartToken {
        /// The token.
        id: u32,
        /// The size of the vocabulary.
        vocab: usize,
    },
    /// A session was to be held by a handle of another model.
    #[error("the handle points to another model than the one that the session runs on")]
    OtherModel,
    /// A session was used out of order.
    #[error("the session was used out of order: {0}")]
    Order(&'static str),
    /// A step that continues a row that there is not.
    #[error("a step continues row {parent}, but the last one had {rows} rows")]
    Parent {
        /// The row asked for.
        parent: usize,
        /// The rows there are.
        rows: usize,
    },
    /// A result could not be read from the device.
    #[error("the device returned no result: {0}")]
    Device(String),
    /// The logits have a shape that the engine refuses.
    #[error(transparent)]
    Logits(#[from] Box<GenerateError>),
}

impl LmError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(error) => error.kind(),
            Self::Shape { .. } | Self::StartToken { .. } | Self::OtherModel => ErrorKind::Mismatch,
            Self::Token { .. }
            | Self::NothingToRead { .. }
            | Self::Order(_)
            | Self::Parent { .. } => ErrorKind::Invalid,
            Self::ContextTooLong { .. } => ErrorKind::Limit,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::NoStartToken => ErrorKind::Missing,
            Self::Device(_) => ErrorKind::Device,
            Self::Logits(error) => error.kind(),
        }
    }
}
