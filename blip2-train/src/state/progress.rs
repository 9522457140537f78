//! How far a training is.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::layout::PROGRESS;
use crate::error::TrainError;

/// How far a training is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// How many steps were made.
    pub step: usize,
    /// What the training itself wants to know when it goes on: its place in the data, the best
    /// score up to now.
    #[serde(default)]
    pub notes: Value,
    /// Tensors that it wants to know, by a name of each set.
    #[serde(skip)]
    pub(super) tensors: BTreeMap<String, BTreeMap<String, TensorData>>,
    /// The state's folder.
    #[serde(skip)]
    pub(super) path: PathBuf,
    /// Later states that are damaged, and why.
    #[serde(skip)]
    pub(super) passed_over: Vec<(PathBuf, String)>,
}

impl Progress {
    /// The progress after `step` steps, and notes.
    ///
    /// # Errors
    ///
    /// For notes that JSON cannot hold.
    pub fn new(step: usize, notes: &impl Serialize) -> Result<Self, TrainError> {
        let notes = serde_json::to_value(notes)
            .map_err(|error| TrainError::format(Path::new(PROGRESS), error))?;
        Ok(Self {
            step,
            notes,
            ..Self::default()
        })
    }

    /// Keeps a set of tensors beside the notes, under a file's name.
    pub fn keep(&mut self, name: &str, tensors: BTreeMap<String, TensorData>) {
        self.tensors.insert(name.to_string(), tensors);
    }

    /// A set of tensors that was kept; empty if there is none.
    pub fn tensors(&self, name: &str) -> BTreeMap<String, TensorData> {
        self.tensors.get(name).cloned().unwrap_or_default()
    }

    /// The folder of the state that this was read of.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Later states that are damaged and were set aside, by their folders, and why.
    pub fn passed_over(&self) -> &[(PathBuf, String)] {
        &self.passed_over
    }

    /// The notes, as what they were.
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] if they were something else.
    pub fn notes<T: DeserializeOwned>(&self, folder: &Path) -> Result<T, TrainError> {
        serde_json::from_value(self.notes.clone())
            .map_err(|error| TrainError::format(folder, error))
    }
}
