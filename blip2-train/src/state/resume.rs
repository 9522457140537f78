//! Saving a state, and going on from one.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use burn::{module::Module, tensor::TensorData};

use super::{
    folder::{begin, publish, states},
    layout::{KEPT_SET, OPTIMIZER, PROGRESS, TRAINED},
    moments,
    progress::Progress,
};
use crate::{
    error::TrainError,
    files::{read_tensors, write_file, write_tensors},
    optimizer::AdamW,
    trained::Trained,
};

impl<M: Module> Trained<M> {
    /// Saves everything that the next steps depend on below `folder`: what is trained, the
    /// optimizer's state, and `progress`. It appears under its name when it is whole, so that a
    /// process that is killed leaves the state before it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save_state(
        &self,
        optimizer: &AdamW,
        progress: &Progress,
        folder: impl AsRef<Path>,
    ) -> Result<PathBuf, TrainError> {
        let folder = folder.as_ref();
        let writing = begin(folder)?;
        write_set(&writing.join(TRAINED), &self.values(), None)?;
        let steps = HashMap::from([("steps".to_string(), optimizer.steps.to_string())]);
        let moments = moments::to_tensors(optimizer);
        write_set(&writing.join(OPTIMIZER), &moments, Some(steps))?;
        for (set, tensors) in &progress.tensors {
            write_set(&writing.join(format!("{set}.{KEPT_SET}")), tensors, None)?;
        }
        let text = serde_json::to_vec_pretty(progress)
            .map_err(|error| TrainError::format(&writing, error))?;
        write_file(&writing.join(PROGRESS), &text)?;
        publish(folder, &writing, progress.step)
    }

    /// Goes on from the last state below `folder`; `None` if there is none, and then nothing has
    /// changed.
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] for a state of another training, and for one that cannot be read.
    pub fn resume(
        &mut self,
        optimizer: &mut AdamW,
        folder: impl AsRef<Path>,
    ) -> Result<Option<Progress>, TrainError> {
        let Some((_, state)) = states(folder.as_ref())?.pop() else {
            return Ok(None);
        };
        // All is read and checked before anything is changed.
        let progress = read_progress(&state)?;
        let path = state.join(OPTIMIZER);
        let saved = read_tensors(&path)?;
        let steps = saved.metadata.get("steps");
        let steps = steps
            .and_then(|steps| steps.parse().ok())
            .ok_or_else(|| TrainError::state(&path, "it says no number of steps"))?;
        let path = state.join(TRAINED);
        self.restore(&read_tensors(&path)?.tensors, &path)?;
        optimizer.states = moments::of_tensors(saved.tensors, self.device());
        optimizer.steps = steps;
        Ok(Some(progress))
    }
}

fn write_set(
    path: &Path,
    tensors: &BTreeMap<String, TensorData>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), TrainError> {
    let tensors = tensors.iter().map(|(name, data)| (name.clone(), data));
    write_tensors(path, tensors, metadata)
}

fn read_progress(state: &Path) -> Result<Progress, TrainError> {
    let path = state.join(PROGRESS);
    let text = fs::read(&path).map_err(|error| TrainError::file(&path, error))?;
    let progress: Progress =
        serde_json::from_slice(&text).map_err(|error| TrainError::format(&path, error))?;
    let tensors = kept_sets(state)?;
    Ok(Progress {
        tensors,
        ..progress
    })
}

/// The sets of tensors that a state keeps besides.
fn kept_sets(state: &Path) -> Result<BTreeMap<String, BTreeMap<String, TensorData>>, TrainError> {
    let mut sets = BTreeMap::new();
    let failed = |error| TrainError::file(state, error);
    for entry in fs::read_dir(state).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let set = name.and_then(|name| name.strip_suffix(KEPT_SET)?.strip_suffix('.'));
        if let Some(set) = set {
            sets.insert(set.to_string(), read_tensors(&path)?.tensors);
        }
    }
    Ok(sets)
}
