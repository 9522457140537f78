//! Errors of adapters.

use std::path::Path;

use crate::{error::IoError, fault::ErrorKind};

/// What is at fault in an adapter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Invalid,
    Malformed,
    Mismatch,
    Unsupported,
}

impl Fault {
    pub(super) fn of(self, path: &Path, reason: impl Into<String>) -> IoError {
        IoError::Adapter {
            path: path.to_path_buf(),
            reason: reason.into(),
            kind: match self {
                Self::Invalid => ErrorKind::Invalid,
                Self::Malformed => ErrorKind::Malformed,
                Self::Mismatch => ErrorKind::Mismatch,
                Self::Unsupported => ErrorKind::Unsupported,
            },
        }
    }
}
