//! What can go wrong with a table.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use crate::fault::{Cause, ErrorKind};

/// Why a table could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The system does not give the file.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system does not take what is written.
    #[error("{}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged, cut short, or not of its format.
    #[error("{}: {source}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Cause,
    },
    /// A row is not what a row is.
    #[error("{}: {place}: {reason}", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Where: a line.
        place: String,
        /// What is wrong with it, and what is due.
        reason: String,
    },
    /// A column is missing, or does not hold what it should.
    #[error("{}: the column `{column}` {reason}", .path.display())]
    Column {
        /// The table.
        path: PathBuf,
        /// The column.
        column: String,
        /// What is wrong with it, and what is due.
        reason: String,
    },
    /// The file is no table.
    #[error(
        "{}: is no table; give a Parquet file or a folder of them, or a file that ends in .jsonl, \
         .csv or .tsv", .path.display()
    )]
    NoTable {
        /// The file.
        path: PathBuf,
    },
}

impl TableError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => ErrorKind::of_read(source),
            Self::Write { .. } => ErrorKind::Unwritable,
            Self::Format { .. } | Self::Row { .. } => ErrorKind::Malformed,
            Self::Column { .. } => ErrorKind::Mismatch,
            Self::NoTable { .. } => ErrorKind::Unsupported,
        }
    }

    pub(super) fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| Self::Write {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn format(path: &Path, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Format {
            path: path.to_path_buf(),
            source: Cause::new(error),
        }
    }

    pub(super) fn row(path: &Path, line: u64, reason: impl Into<String>) -> Self {
        Self::Row {
            path: path.to_path_buf(),
            place: format!("line {line}"),
            reason: reason.into(),
        }
    }
}
