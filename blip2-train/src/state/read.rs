//! Reading a state, and the faults that it may have.

use std::{collections::BTreeMap, fs, path::Path};

use burn::{module::Module, optim::AdamWState, tensor::TensorData};
use serde_json::Value;

use super::{
    contents::Contents,
    folder::seen,
    layout::{KEPT_SET, OPTIMIZER, PROGRESS, TRAINED},
    moments,
    progress::Progress,
};
use crate::{
    error::TrainError,
    files::{read_file, read_tensors},
    trained::Trained,
};

/// Far more than any training has, and far from where counting on would overflow.
const MOST_STEPS: usize = 1 << 40;

/// All that a state says, known to fit what is trained.
pub(super) struct State {
    pub(super) progress: Progress,
    pub(super) trained: BTreeMap<String, TensorData>,
    pub(super) moments: BTreeMap<String, AdamWState<1>>,
    pub(super) steps: usize,
}

/// Why a state cannot be gone on from.
pub(super) enum Fault {
    /// It is damaged: the one before may not be.
    Damaged(TrainError),
    /// It is whole, and of another training.
    Foreign(TrainError),
}

impl State {
    /// Reads a state of what is trained.
    pub(super) fn read<M: Module>(folder: &Path, trained: &Trained<M>) -> Result<Self, Fault> {
        let contents = Contents::load(folder).map_err(Fault::Damaged)?;
        contents.check(folder).map_err(Fault::Damaged)?;
        let base = contents.check_base(folder, trained.base());
        base.map_err(Fault::Foreign)?;
        let scale = contents.check_scale(folder, trained.lora());
        scale.map_err(Fault::Foreign)?;
        Self::parse(folder, trained).map_err(Fault::Foreign)
    }

    fn parse<M: Module>(folder: &Path, trained: &Trained<M>) -> Result<Self, TrainError> {
        let progress = read_progress(folder)?;
        let path = folder.join(TRAINED);
        let values = read_tensors(&path)?.tensors;
        trained.check_values(&values, &path)?;
        let path = folder.join(OPTIMIZER);
        let saved = read_tensors(&path)?;
        let steps = saved.metadata.get("steps");
        let steps = steps
            .and_then(|steps| steps.parse().ok())
            .ok_or_else(|| TrainError::state(&path, "it says no number of steps"))?;
        if steps != progress.step {
            let reason = format!("it is of {steps} steps, and the state of {}", progress.step);
            return Err(TrainError::state(&path, reason));
        }
        Ok(Self {
            moments: moments::of_tensors(saved.tensors, steps, trained, &path)?,
            trained: values,
            progress,
            steps,
        })
    }
}

/// What states below a folder say beside their tensors, the last first. Those that cannot be read say
/// nothing.
pub(crate) fn last_notes(folder: &Path) -> Vec<Value> {
    let states = seen(folder).unwrap_or_default().into_iter().rev();
    let read = states.filter_map(|(_, state)| {
        let text = read_file(&state.join(PROGRESS)).ok()?;
        serde_json::from_slice::<Progress>(&text).ok()
    });
    read.map(|progress| progress.notes).collect()
}

fn read_progress(state: &Path) -> Result<Progress, TrainError> {
    let path = state.join(PROGRESS);
    let progress: Progress = serde_json::from_slice(&read_file(&path)?)
        .map_err(|error| TrainError::format(&path, error))?;
    if progress.step > MOST_STEPS {
        let reason = format!("{} steps are more than any training has", progress.step);
        return Err(TrainError::state(&path, reason));
    }
    Ok(Progress {
        tensors: kept_sets(state)?,
        path: state.to_path_buf(),
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
