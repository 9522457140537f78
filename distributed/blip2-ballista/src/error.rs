//! What can go wrong.

use std::path::PathBuf;

use ballista_core::error::BallistaError;
use blip2_datafusion::FunctionError;
use blip2_io::tables::TableError;
use datafusion::error::DataFusionError;

/// What can go wrong with a cluster or a job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The model, or its functions' settings.
    #[error(transparent)]
    Functions(#[from] FunctionError),
    /// A query: its text, its plan, or a row of it.
    #[error("{0}")]
    Query(#[source] Box<DataFusionError>),
    /// The scheduler or an executor.
    #[error("{0}")]
    Cluster(#[source] Box<BallistaError>),
    /// A file of the result cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What was asked for makes no sense, or is not what was asked before.
    #[error("{0}")]
    Asked(String),
    /// A split failed.
    #[error("{split}: {source}")]
    Split {
        /// The input file.
        split: String,
        /// What is wrong with it.
        source: Box<ClusterError>,
    },
}

impl From<DataFusionError> for ClusterError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}

impl From<BallistaError> for ClusterError {
    fn from(error: BallistaError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

impl ClusterError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
