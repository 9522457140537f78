//! What can go wrong.

use blip2_io::{ErrorKind, config::ConfigError};

/// Why the encoder refused its configuration or input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// A configuration whose numbers make no sense together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Features of another width than the encoder reads.
    #[error(
        "a frame of these features has {found} numbers but the encoder reads {expected}; make them \
         with twice as many numbers as mel bands, and with the bands that the checkpoint's \
         preprocessor_config.json says"
    )]
    Width {
        /// Their width.
        found: usize,
        /// The configured `input_dim`.
        expected: usize,
    },
    /// Features that no recording has.
    #[error(
        "features of shape {shape:?} are no recordings of shape [batch, frames, input_dim]: {reason}"
    )]
    InputFeatures {
        /// Their shape.
        shape: [usize; 3],
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl AudioError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(error) => error.kind(),
            Self::Width { .. } => ErrorKind::Mismatch,
            Self::InputFeatures { .. } => ErrorKind::Invalid,
        }
    }
}
