//! What can go wrong.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use blip2_core::Blip2Error;
use blip2_io::{IoError, dataset::DatasetError};
use blip2_lm::{LmError, generate::GenerateError};

/// Everything that can go wrong while a model is trained, by what is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The model, or its folder: it cannot be read, or the model refused its input.
    #[error(transparent)]
    Model(Refusal),
    /// A checkpoint that lacks what training needs.
    #[error("{}: {reason}", .path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The data set cannot be read.
    #[error(transparent)]
    Data(Refusal),
    /// An example that cannot be trained on, or evaluated.
    #[error("example {id} {reason}")]
    Example {
        /// What the data set calls it.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A batch whose parts do not go together.
    #[error("the batch does not fit: {reason}")]
    Batch {
        /// What is wrong.
        reason: String,
    },
    /// An argument that makes no sense.
    #[error("{argument} = {value} {reason}")]
    Argument {
        /// The argument.
        argument: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A [pattern](crate::NamePattern) that matches nothing.
    #[error(
        "no {wanted} is called `{pattern}`; the nearest names are {}: give whole parts of names, \
         from their beginning (`qformer`) or to their end (`q_proj`)",
        listed(.nearest)
    )]
    UnknownName {
        /// What was looked for: a trained parameter, a linear layer.
        wanted: &'static str,
        /// The pattern.
        pattern: String,
        /// What may have been meant.
        nearest: Vec<String>,
    },
    /// Nothing would be trained.
    #[error("nothing would be trained: {reason}")]
    NothingTrains {
        /// Why.
        reason: String,
    },
    /// A loss or a gradient that is no number.
    #[error(
        "{what} is {value} at step {step}{}; {}",
        rate(*.lr),
        remedy(*.step, *.lr)
    )]
    NotFinite {
        /// What it is.
        what: String,
        /// Its value.
        value: f32,
        /// How many steps were made before.
        step: usize,
        /// The learning rate there, where it is known.
        lr: Option<f64>,
    },
    /// The model could not be evaluated.
    #[error("the evaluation after {step} steps failed: {source}")]
    Score {
        /// How many steps were made before.
        step: usize,
        /// Why.
        source: Box<TrainError>,
    },
    /// Whoever began the training cancelled it.
    #[error("the training was cancelled")]
    Cancelled,
    /// Another process of the same training failed.
    #[error("process {rank} of the training failed: {reason}")]
    Elsewhere {
        /// The process's number.
        rank: usize,
        /// Why.
        reason: String,
    },
    /// The processes of a training do not go together, or one is gone.
    #[error("the processes of the training do not go on together: {reason}")]
    Group {
        /// Why.
        reason: String,
    },
    /// A folder that another process writes in.
    #[error("{}: {} is training in this folder; let it end, or give another folder", .path.display(),
        .process.map_or("another process".to_string(), |number| format!("process {number}")))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The number of that process, where it says so.
        process: Option<u32>,
    },
    /// A folder that would be written onto what is read.
    #[error(
        "{} would be written onto {}, which is read; write into another folder",
        .written.display(), .read.display()
    )]
    Overlap {
        /// What would be written.
        written: PathBuf,
        /// What is read.
        read: PathBuf,
    },
    /// A saved state or adapter that is damaged, or does not belong to what is trained.
    #[error("{}: {reason}", .path.display())]
    State {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
        /// What the reader of the file said, if that is why.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What another crate refused. Its message and its source are those of that crate's own error.
#[derive(Debug)]
pub struct Refusal(Box<dyn Error + Send + Sync>);

impl Refusal {
    /// The error of the crate that refused, to be downcast.
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<Blip2Error> for TrainError {
    fn from(error: Blip2Error) -> Self {
        Self::Model(Refusal(Box::new(error)))
    }
}

impl From<IoError> for TrainError {
    fn from(error: IoError) -> Self {
        match error {
            IoError::OntoInput { output, input } => Self::Overlap {
                written: output,
                read: input,
            },
            other => Self::Model(Refusal(Box::new(other))),
        }
    }
}

impl From<LmError> for TrainError {
    fn from(error: LmError) -> Self {
        Self::Model(Refusal(Box::new(error)))
    }
}

impl From<DatasetError> for TrainError {
    fn from(error: DatasetError) -> Self {
        Self::Data(Refusal(Box::new(error)))
    }
}

impl TrainError {
    /// The same, of a certain step at a learning rate.
    pub(crate) fn at(self, step: usize, lr: f64) -> Self {
        match self {
            Self::NotFinite { what, value, .. } => Self::NotFinite {
                what,
                value,
                step,
                lr: Some(lr),
            },
            other => other,
        }
    }

    /// An evaluation's failure. That of a model whose numbers are none is the learning rate's.
    pub(crate) fn of_score(self, step: usize, lr: f64) -> Self {
        if let Some(value) = self.bad_score() {
            return Self::NotFinite {
                what: "a logit".into(),
                value,
                step,
                lr: Some(lr),
            };
        }
        match self {
            Self::Cancelled => self,
            Self::NotFinite { .. } => self.at(step, lr),
            other => Self::Score {
                step,
                source: Box::new(other),
            },
        }
    }

    /// A logit, or a score of a token, that is no number.
    fn bad_score(&self) -> Option<f32> {
        let Self::Model(refusal) = self else {
            return None;
        };
        let mut error: &Blip2Error = refusal.get_ref().downcast_ref()?;
        while let Blip2Error::Item { source, .. } = error {
            error = source;
        }
        match error {
            Blip2Error::Generate(
                GenerateError::BadScores { value, .. } | GenerateError::BadLogits { value, .. },
            ) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::File { path, source }
    }

    /// A saved file that does not fit.
    pub(crate) fn state(path: &Path, reason: impl Into<String>) -> Self {
        Self::State {
            path: path.to_path_buf(),
            reason: reason.into(),
            source: None,
        }
    }

    /// A saved file whose reader, or a file to be saved whose writer, refused.
    pub(crate) fn format(path: &Path, source: impl Error + Send + Sync + 'static) -> Self {
        Self::State {
            path: path.to_path_buf(),
            reason: source.to_string(),
            source: Some(Box::new(source)),
        }
    }

    pub(crate) fn example(id: &str, reason: impl Into<String>) -> Self {
        let (id, reason) = (id.to_string(), reason.into());
        Self::Example { id, reason }
    }

    pub(crate) fn argument(
        argument: &'static str,
        value: impl ToString,
        reason: impl Into<String>,
    ) -> Self {
        Self::Argument {
            argument,
            value: value.to_string(),
            reason: reason.into(),
        }
    }
}

/// A learning rate that is known.
fn rate(lr: Option<f64>) -> String {
    lr.map_or_else(String::new, |lr| format!(", at a learning rate of {lr:e}"))
}

/// What may help where numbers are none.
fn remedy(step: usize, lr: Option<f64>) -> &'static str {
    match (step, lr) {
        // No rate has changed anything yet. Whoever makes steps of their own is told neither.
        (0, Some(_)) => {
            "nothing is trained by then: look for numbers in the base model's weights that are none, or too large for \
             how they are held"
        }
        _ => "lower the learning rate, or clip gradients",
    }
}

fn listed(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_message_and_the_error() {
        let path = PathBuf::from("train.jsonl");
        let error = TrainError::from(DatasetError::Empty { path });
        assert_eq!(error.to_string(), "train.jsonl: no usable record");
        let TrainError::Data(refusal) = error else {
            panic!("{error:?}");
        };
        assert!(refusal.get_ref().is::<DatasetError>());
    }

    #[test]
    fn files_that_are_damaged_tell_their_source() {
        let json = serde_json::from_str::<usize>("x").unwrap_err();
        let error = TrainError::format(Path::new("progress.json"), json);
        assert!(error.to_string().starts_with("progress.json: "));
        assert!(error.source().is_some());
        assert!(TrainError::state(Path::new("x"), "y").source().is_none());
    }
}
