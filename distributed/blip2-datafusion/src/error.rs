//! What can go wrong.

use std::{error::Error, fmt};

use blip2_core::{Blip2Error, ErrorKind, ModelKind};
use datafusion::error::DataFusionError;

/// What is wrong before any row was seen: with the model, or with what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// The checkpoint cannot be opened or read.
    #[error(transparent)]
    Model(#[from] Blip2Error),
    /// No function of SQL can be made of the model.
    #[error("{kind} {reason}")]
    Kind {
        /// What the checkpoint holds.
        kind: ModelKind,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// A setting makes no sense.
    #[error("{name}: {reason}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What is wrong with it, and what to give.
        reason: String,
    },
}

/// What is wrong with one row of a query.
///
/// A query ends with it, as a [`DataFusionError::External`] whose source it is, unless rows that fail
/// are to be NULL.
#[derive(Debug)]
pub struct RowError {
    pub(crate) function: &'static str,
    pub(crate) place: String,
    pub(crate) fault: Fault,
}

/// The fault of a row.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Before the model saw it: where it is, or may not be, read from.
    Source(String),
    /// The picture, the text, or the model.
    Model(Blip2Error),
    /// The machine.
    Machine(String),
}

impl RowError {
    /// The function that failed, as SQL calls it.
    pub fn function(&self) -> &str {
        self.function
    }

    /// The picture's path or URL, or the column that its bytes are in.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.function, self.place, self.fault)
    }
}

impl Error for RowError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            Fault::Source(_) | Fault::Machine(_) => None,
            Fault::Model(error) => error.source(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(reason) | Self::Machine(reason) => f.write_str(reason),
            Self::Model(error) => error.fmt(f),
        }
    }
}

impl From<RowError> for DataFusionError {
    fn from(error: RowError) -> Self {
        Self::External(Box::new(error))
    }
}

impl Fault {
    /// Whether the fault is one row's own, and others may go well.
    pub(crate) fn is_of_row(&self) -> bool {
        match self {
            Self::Source(_) => true,
            Self::Machine(_) => false,
            Self::Model(error) => matches!(
                error.kind(),
                ErrorKind::Input | ErrorKind::Limit | ErrorKind::Generation
            ),
        }
    }
}

impl From<Blip2Error> for Fault {
    fn from(error: Blip2Error) -> Self {
        Self::Model(error)
    }
}
