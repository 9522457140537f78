//! Why a folder could not be verified.

use std::{
    io,
    path::{Path, PathBuf},
};

use blip2_core::{Blip2Error, ErrorKind};
use blip2_train::TrainError;

/// Why a folder could not be verified at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The folder holds no goldens.
    #[error(
        "{}: holds no golden.json, nor do the folders in it; there is nothing to verify against",
        .0.display()
    )]
    NoGolden(PathBuf),
    /// A file of goldens could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of goldens is damaged.
    #[error("{}: {detail}", .path.display())]
    Golden {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A golden is not what its name says.
    #[error("a golden is damaged: {0}")]
    Content(String),
    /// The checkpoint could not be loaded.
    #[error(transparent)]
    Model(#[from] Blip2Error),
    /// The checkpoint could not be trained.
    #[error(transparent)]
    Training(#[from] TrainError),
}

impl VerifyError {
    /// What is at fault.
    ///
    /// ```
    /// use blip2_core::{Device, ErrorKind};
    /// use blip2_verify::{VerifyOptions, verify};
    ///
    /// let error = verify("../docs", &VerifyOptions::new(Device::flex())).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::File);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(error) => error.kind(),
            Self::Training(error) => error.kind(),
            Self::NoGolden(_) | Self::Read { .. } | Self::Golden { .. } | Self::Content(_) => {
                ErrorKind::File
            }
        }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn golden(detail: impl Into<String>) -> Self {
        Self::Content(detail.into())
    }
}
