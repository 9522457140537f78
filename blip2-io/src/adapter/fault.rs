//! Errors of adapters.

use std::path::Path;

use crate::{error::IoError, fault::ErrorKind};

/// What is at fault in an adapter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Invalid,
    Malformed,
    Mismatch,
    NotFound,
    Unsupported,
}

impl Fault {
    pub(super) fn of(self, path: &Path, reason: impl Into<String>) -> IoError {
        IoError::Adapter {
            path: path.to_path_buf(),
            reason: shown(&reason.into()),
            kind: match self {
                Self::Invalid => ErrorKind::Invalid,
                Self::Malformed => ErrorKind::Malformed,
                Self::Mismatch => ErrorKind::Mismatch,
                Self::NotFound => ErrorKind::NotFound,
                Self::Unsupported => ErrorKind::Unsupported,
            },
        }
    }
}

/// A text without what would drive a terminal: names of tensors are those of a file.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}
