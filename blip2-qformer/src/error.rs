//! What can go wrong.

use blip2_io::config::ConfigError;

/// Why the Q-Former refused its configuration or input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QFormerError {
    /// A configuration whose numbers make no sense together.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    #[error("the queries cross-attend to a picture, but no encoder_hidden_states were given")]
    NoImage,
    /// Text for a Q-Former that has no branch for it.
    #[error(
        "text was given, but this Q-Former has no text branch (use_qformer_text_input is false)"
    )]
    NoTextBranch,
}
