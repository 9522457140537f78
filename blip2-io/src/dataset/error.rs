//! What can go wrong with a data set.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    fault::{Cause, ErrorKind},
    preprocessing::ImageError,
    regular::plainly,
    video::VideoError,
};

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokenRecord {
    /// The file that it stands in.
    pub file: PathBuf,
    /// Where: a line, a question's id.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

impl BrokenRecord {
    /// A record of a file that cannot be used.
    pub fn new(file: PathBuf, place: String, reason: String) -> Self {
        Self {
            file,
            place,
            reason,
        }
    }
}

impl fmt::Display for BrokenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}: {}",
            self.file.display(),
            self.place,
            self.reason
        )
    }
}

/// Why a data set could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file or folder could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {source}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is due.
        source: Cause,
    },
    /// Records that cannot be used.
    #[error("{}", listed(.records))]
    Broken {
        /// All of them.
        records: Vec<BrokenRecord>,
    },
    /// There is nothing to train on.
    #[error("{}: no usable record", .path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
    /// Pictures that do not go together.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A video that cannot be used.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// A worker thread ended before its batch was done.
    #[error("a worker thread ended before its batch was done")]
    Worker,
}

impl DatasetError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => ErrorKind::of_read(source),
            Self::Format { .. } | Self::Broken { .. } => ErrorKind::Malformed,
            Self::Empty { .. } => ErrorKind::Missing,
            Self::Image(error) => error.kind(),
            Self::Video(error) => error.kind(),
            Self::Worker => ErrorKind::Internal,
        }
    }

    /// A file or folder that the system does not give.
    pub(super) fn unread(path: PathBuf, source: io::Error) -> Self {
        let source = plainly(source);
        Self::Read { path, source }
    }

    pub(super) fn format(path: &Path, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Format {
            path: path.to_path_buf(),
            source: Cause::new(error),
        }
    }
}

/// The first records, and how many more there are.
fn listed(records: &[BrokenRecord]) -> String {
    const SHOWN: usize = 10;
    let mut text = match records.len() {
        1 => "a broken record:".to_string(),
        count => format!("{count} broken records:"),
    };
    for record in records.iter().take(SHOWN) {
        text.push_str(&format!("\n  {record}"));
    }
    if records.len() > SHOWN {
        text.push_str(&format!("\n  and {} more", records.len() - SHOWN));
    }
    text
}
