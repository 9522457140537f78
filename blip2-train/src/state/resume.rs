//! Saving a state, and going on from one.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use burn::{module::Module, tensor::TensorData};

use super::{
    contents::Contents,
    folder::{abandon, begin, publish, seen, set_aside, states},
    layout::{KEPT_SET, OPTIMIZER, PROGRESS, TRAINED},
    moments,
    progress::Progress,
    read::{Fault, State},
};
use crate::{
    error::TrainError,
    files::{write_file, write_tensors},
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
        let written = self.write_state(optimizer, progress, &writing);
        if written.is_err() {
            // On a full disk it would be what fills it.
            abandon(&writing);
        }
        written?;
        publish(folder, &writing, progress.step)
    }

    fn write_state(
        &self,
        optimizer: &AdamW,
        progress: &Progress,
        writing: &Path,
    ) -> Result<(), TrainError> {
        write_set(&writing.join(TRAINED), &self.values(), None)?;
        let steps = HashMap::from([("steps".to_string(), optimizer.steps.to_string())]);
        let moments = moments::to_tensors(optimizer);
        write_set(&writing.join(OPTIMIZER), &moments, Some(steps))?;
        for (set, tensors) in &progress.tensors {
            write_set(&writing.join(format!("{set}.{KEPT_SET}")), tensors, None)?;
        }
        let text = serde_json::to_vec_pretty(progress)
            .map_err(|error| TrainError::format(writing, error))?;
        write_file(&writing.join(PROGRESS), &text)?;
        Contents::save(writing, self.lora(), self.base())
    }

    /// Goes on from the last whole state below `folder`; `None` if there is none, and then nothing has
    /// changed. States after it that are damaged are set aside, and told by
    /// [`Progress::passed_over`].
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] for a state of another training, and if all are damaged.
    pub fn resume(
        &mut self,
        optimizer: &mut AdamW,
        folder: impl AsRef<Path>,
    ) -> Result<Option<Progress>, TrainError> {
        let states = states(folder.as_ref())?;
        let Some((state, passed_over)) = self.last_whole(states)? else {
            return Ok(None);
        };
        for (path, _) in &passed_over {
            set_aside(path)?;
        }
        self.go_on(optimizer, state, passed_over).map(Some)
    }

    /// As [`resume`](Self::resume), with the folder left as it is.
    pub(crate) fn peek(
        &mut self,
        optimizer: &mut AdamW,
        folder: impl AsRef<Path>,
    ) -> Result<Option<Progress>, TrainError> {
        let Some((state, passed_over)) = self.last_whole(seen(folder.as_ref())?)? else {
            return Ok(None);
        };
        self.go_on(optimizer, state, passed_over).map(Some)
    }

    /// The last whole one of `states`, and those after it that are damaged.
    fn last_whole(
        &self,
        states: Vec<(usize, PathBuf)>,
    ) -> Result<Option<(State, Damaged)>, TrainError> {
        let mut passed_over = Vec::new();
        for (_, path) in states.into_iter().rev() {
            // All is read and checked before anything is changed.
            match State::read(&path, self) {
                Ok(state) => return Ok(Some((state, passed_over))),
                Err(Fault::Foreign(error)) => return Err(error),
                Err(Fault::Damaged(error)) => passed_over.push((path, error)),
            }
        }
        match passed_over.into_iter().next() {
            Some((path, error)) => {
                let reason = format!(
                    "no state is whole, and this is the last: {error}. Remove the states to begin anew, or give another \
                     folder"
                );
                Err(TrainError::state(&path, reason))
            }
            None => Ok(None),
        }
    }

    fn go_on(
        &mut self,
        optimizer: &mut AdamW,
        state: State,
        passed_over: Damaged,
    ) -> Result<Progress, TrainError> {
        let mut progress = state.progress;
        for (path, error) in passed_over {
            progress.passed_over.push((path, error.to_string()));
        }
        self.restore(&state.trained, progress.path())?;
        optimizer.states = state.moments;
        optimizer.steps = state.steps;
        Ok(progress)
    }
}

/// States that are damaged, and what is wrong with each.
type Damaged = Vec<(PathBuf, TrainError)>;

fn write_set(
    path: &Path,
    tensors: &BTreeMap<String, TensorData>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), TrainError> {
    let tensors = tensors.iter().map(|(name, data)| (name.clone(), data));
    write_tensors(path, tensors, metadata)
}
