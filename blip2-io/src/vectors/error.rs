//! What can go wrong with files of vectors.

use std::path::PathBuf;

#[cfg(feature = "tables")]
use crate::tables::TableError;
use crate::{error::IoError, fault::ErrorKind};

/// Why vectors could not be read or searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorError {
    /// The file could not be opened.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The table could not be read.
    #[cfg(feature = "tables")]
    #[error(transparent)]
    Table(#[from] TableError),
    /// The file holds no vectors of 32 bits.
    #[error("{}: {reason}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// What is looked for has another width.
    #[error(
        "vectors of {found} numbers cannot be compared with one of {query}; use the model that made them"
    )]
    Width {
        /// That of the vectors.
        found: usize,
        /// That of what is looked for.
        query: usize,
    },
}

impl VectorError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(error) => error.kind(),
            #[cfg(feature = "tables")]
            Self::Table(error) => error.kind(),
            Self::Format { .. } => ErrorKind::Malformed,
            Self::Width { .. } => ErrorKind::Mismatch,
        }
    }
}
