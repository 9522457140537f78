//! What can go wrong with a data set.

use std::{fmt, io, path::PathBuf};

use crate::image::ImageError;

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
    #[error("{}: {reason}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is due.
        reason: String,
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
    /// A worker thread ended before its batch was done.
    #[error("a worker thread ended before its batch was done")]
    Worker,
}

/// As many as a person reads.
fn listed(records: &[BrokenRecord]) -> String {
    const SHOWN: usize = 10;
    let mut text = format!("{} broken records:", records.len());
    for record in records.iter().take(SHOWN) {
        text.push_str(&format!("\n  {record}"));
    }
    if records.len() > SHOWN {
        text.push_str(&format!("\n  and {} more", records.len() - SHOWN));
    }
    text
}
