//! What can go wrong with an index.

use std::{io, path::PathBuf};

use blip2_io::IoError;

use crate::{error::Blip2Error, kind::ErrorKind};

/// Why an index could not be read, changed or searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The model refused a picture or a text.
    #[error(transparent)]
    Model(#[from] Blip2Error),
    /// The file could not be opened.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The file could not be written.
    #[error("{}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no index.
    #[error("{}: this is no photo index; make one with `index add`", .path.display())]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// The file is an index of another version.
    #[error(
        "{}: the index has the format {found}, and this version reads {known}; make it again from \
         the pictures", .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read.
        known: u32,
    },
    /// The file is cut short or goes on after its end.
    #[error(
        "{}: the index is {found} bytes long where it should be {expected}; it was cut short or \
         something was added to it; make it again from the pictures", .path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The length that its header demands.
        expected: u64,
    },
    /// The file's numbers are not those that were written.
    #[error("{}: the index is damaged: {detail}; make it again from the pictures", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Vectors that cannot be a model's embeddings.
    #[error("{}: {reason}", .path.display())]
    Vectors {
        /// The file.
        path: PathBuf,
        /// What is wrong with them, and the way out.
        reason: String,
    },
    /// The index was made by another model.
    #[error(
        "the index was made by a model with other weights, precision or preprocessing ({found}) \
         than this one ({expected}); search it with the model that made it, or make it again"
    )]
    ForeignWeights {
        /// The fingerprint in the index.
        found: String,
        /// The model's fingerprint.
        expected: String,
    },
    /// A picture of that name is there already.
    #[error("a picture named `{name}` is in the index already; remove it first")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that cannot be one.
    #[error("`{name}` cannot name a picture: {reason}")]
    Name {
        /// The name, shortened.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl IndexError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(error) => error.kind(),
            Self::Duplicate { .. } | Self::Name { .. } => ErrorKind::Input,
            Self::ForeignWeights { .. } => ErrorKind::Configuration,
            Self::Io(_)
            | Self::Write { .. }
            | Self::NotAnIndex { .. }
            | Self::Version { .. }
            | Self::Length { .. }
            | Self::Vectors { .. }
            | Self::Damaged { .. } => ErrorKind::File,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_input_and_a_damaged_index_a_file() {
        let name = "a.png".to_string();
        assert_eq!(IndexError::Duplicate { name }.kind(), ErrorKind::Input);
        let path = PathBuf::from("photos.idx");
        assert_eq!(IndexError::NotAnIndex { path }.kind(), ErrorKind::File);
        let late = IndexError::from(Blip2Error::Deadline);
        assert_eq!(late.kind(), ErrorKind::Deadline);
    }
}
