//! What the errors of this crate have in common.

use std::{error::Error, fmt, io};

/// What is at fault in an error: for programs to decide by, as the message is for people. Every
/// error of this crate and of the model crates has it as `kind()`, and an error that wraps another
/// has the other's.
///
/// ```
/// use blip2_io::{ErrorKind, preprocessing::{DecodeOptions, decode_bytes}};
///
/// let error = decode_bytes(b"not a picture", &DecodeOptions::default()).unwrap_err();
/// let status = match error.kind() {
///     ErrorKind::NotFound => 404,
///     ErrorKind::Limit => 413,
///     ErrorKind::Unsupported => 415,
///     _ => 400,
/// };
/// assert_eq!(status, 415);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such file or folder.
    NotFound,
    /// The system does not give what is in a file or folder.
    Unreadable,
    /// The system does not take what is to be written.
    Unwritable,
    /// The content is damaged, cut short, or not of its format.
    Malformed,
    /// The content is well-formed and lacks a part.
    Missing,
    /// The parts are well-formed and do not belong together.
    Mismatch,
    /// A value, or an argument of the call, makes no sense.
    Invalid,
    /// A model, a format or a feature of one that this library does not read.
    Unsupported,
    /// The content is larger than the limits allow.
    Limit,
    /// The device gives no result.
    Device,
    /// A worker of this library failed.
    Internal,
}

impl ErrorKind {
    /// Of a file or folder that was to be read.
    pub(crate) fn of_read(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Unreadable,
        }
    }
}

/// What a library beneath this one said. It is opaque, so that the library can be replaced: it
/// displays as the library's error does, and its source is that error's.
#[derive(Debug)]
pub struct Cause(Box<dyn Error + Send + Sync>);

impl Cause {
    /// An error of another library, or a text.
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
