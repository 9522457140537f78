//! What can go wrong.

use blip2_io::{ErrorKind, config::ConfigError};

/// Why the Q-Former refused its configuration or input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QFormerError {
    /// A configuration whose numbers make no sense together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Neither queries nor text.
    #[error("there is nothing to read: neither query_embeds nor text_embeds were given")]
    NoInput,
    /// A tensor whose shape does not go with the model or the other tensors.
    #[error("{tensor} has the shape {found:?} where {expected} is due")]
    Shape {
        /// The tensor.
        tensor: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that is due.
        expected: String,
    },
    /// Cross-attention without a picture.
    #[error(
        "queries cross-attend to a picture, but no encoder_hidden_states were given; give them, or \
         text alone"
    )]
    NoImage,
    /// Rows that do not each attend to one of the pictures.
    #[error(
        "{rows} rows cannot attend to the pictures {pictures:?} of {held}; give each row the place of \
         one of them"
    )]
    Pictures {
        /// How many rows there are.
        rows: usize,
        /// The pictures that they were to attend to.
        pictures: Vec<usize>,
        /// How many pictures there are.
        held: usize,
    },
    /// Text for a Q-Former that has no branch for it.
    #[error(
        "text_embeds were given, but this Q-Former has no text branch (use_qformer_text_input is \
         false in its configuration); give queries alone"
    )]
    NoTextBranch,
    /// Rows of token ids that are none.
    #[error("the token ids cannot be embedded: {reason}")]
    Tokens {
        /// What is wrong.
        reason: String,
    },
    /// A text with more tokens than there are positions.
    #[error(
        "the text has {tokens} tokens, special ones included, but the Q-Former has only \
         {positions} positions; shorten the text"
    )]
    TextTooLong {
        /// The tokens of the longest text.
        tokens: usize,
        /// The model's positions.
        positions: usize,
    },
}

impl QFormerError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(error) => error.kind(),
            Self::NoInput | Self::NoImage => ErrorKind::Missing,
            Self::Shape { .. } | Self::Pictures { .. } => ErrorKind::Mismatch,
            Self::NoTextBranch => ErrorKind::Unsupported,
            Self::Tokens { .. } => ErrorKind::Invalid,
            Self::TextTooLong { .. } => ErrorKind::Limit,
        }
    }
}
