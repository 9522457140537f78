//! The folder that states are in.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::TrainError;

/// What the names of states begin with; the step's number follows.
const STATE: &str = "step-";
/// What the names of states begin with that are not whole.
const WRITING: &str = "writing-";
/// How many states are kept: the last may be what a fault of the disk spoilt.
const KEPT: usize = 2;

/// An empty folder to write a state in.
pub(super) fn begin(folder: &Path) -> Result<PathBuf, TrainError> {
    // Two processes that write at a time do not write in one folder.
    let writing = folder.join(format!("{WRITING}{}", std::process::id()));
    remove(&writing)?;
    fs::create_dir_all(&writing).map_err(|error| TrainError::file(&writing, error))?;
    Ok(writing)
}

/// Gives a state that is whole its name, and removes old ones.
pub(super) fn publish(folder: &Path, writing: &Path, step: usize) -> Result<PathBuf, TrainError> {
    let whole = folder.join(format!("{STATE}{step:09}"));
    remove(&whole)?;
    fs::rename(writing, &whole).map_err(|error| TrainError::file(&whole, error))?;
    let states = states(folder)?;
    for (_, old) in states.iter().rev().skip(KEPT) {
        remove(old)?;
    }
    clear_abandoned(folder);
    Ok(whole)
}

/// The states below a folder with their steps, in that order.
pub(super) fn states(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let failed = |error| TrainError::file(folder, error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut states = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name.and_then(|name| name.strip_prefix(STATE)?.parse().ok());
        states.extend(step.map(|step| (step, path)));
    }
    states.sort();
    Ok(states)
}

fn remove(folder: &Path) -> Result<(), TrainError> {
    match folder.exists() {
        true => fs::remove_dir_all(folder).map_err(|error| TrainError::file(folder, error)),
        false => Ok(()),
    }
}

/// Removes what processes left that were killed while they wrote. That it stays costs space alone.
fn clear_abandoned(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with(WRITING) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
