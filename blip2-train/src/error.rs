//! What can go wrong.

use std::{
    io,
    path::{Path, PathBuf},
};

use blip2_core::Blip2Error;
use blip2_io::{IoError, dataset::DatasetError};
use blip2_lm::LmError;

/// Everything that can go wrong while a model is trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The model refused its checkpoint or its input.
    #[error(transparent)]
    Model(#[from] Blip2Error),
    /// A checkpoint folder could not be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The language model refused its input.
    #[error(transparent)]
    Lm(#[from] LmError),
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// Nothing would be trained.
    #[error("nothing would be trained: {reason}")]
    NothingTrains {
        /// Why.
        reason: String,
    },
    /// An argument that makes no sense.
    #[error("{argument} = {value} {reason}")]
    Argument {
        /// The argument.
        argument: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A batch whose parts do not go together.
    #[error("the batch does not fit: {reason}")]
    Batch {
        /// What is wrong.
        reason: String,
    },
    /// A loss or a gradient that is no number.
    #[error("{what} is {value} at step {step}; lower the learning rate, or clip gradients")]
    NotFinite {
        /// What it is.
        what: String,
        /// Its value.
        value: f32,
        /// How many steps were made before.
        step: usize,
    },
    /// A saved state that does not belong to what is trained.
    #[error("{}: {reason}", .path.display())]
    State {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl TrainError {
    /// The same, of a certain step.
    pub(crate) fn at(self, at: usize) -> Self {
        match self {
            Self::NotFinite { what, value, .. } => Self::NotFinite {
                what,
                value,
                step: at,
            },
            other => other,
        }
    }

    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::File { path, source }
    }

    pub(crate) fn state(path: &Path, reason: impl ToString) -> Self {
        let (path, reason) = (path.to_path_buf(), reason.to_string());
        Self::State { path, reason }
    }

    pub(crate) fn argument(
        argument: &'static str,
        value: impl ToString,
        reason: impl Into<String>,
    ) -> Self {
        Self::Argument {
            argument,
            value: value.to_string(),
            reason: reason.into(),
        }
    }
}
