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
/// What the names of states begin with that another of the same step takes the place of.
const REPLACED: &str = "replaced-";
/// What the names of states begin with that are damaged.
const DAMAGED: &str = "damaged-";
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
    let replaced = folder.join(format!("{REPLACED}{step:09}"));
    if whole.exists() {
        remove(&replaced)?;
        moved(&whole, &replaced)?;
    }
    moved(writing, &whole)?;
    remove(&replaced)?;
    let states = states(folder)?;
    for (_, old) in states.iter().rev().skip(KEPT) {
        remove(old)?;
    }
    clear_abandoned(folder);
    Ok(whole)
}

/// Takes back what of a state was written that will not be whole. Should it stay, it costs space alone.
pub(super) fn abandon(writing: &Path) {
    let _ = fs::remove_dir_all(writing);
}

/// Gives a damaged state another name, so that it is not gone on from, and can be looked at.
pub(super) fn set_aside(state: &Path) -> Result<(), TrainError> {
    let name = state.file_name().unwrap_or_default().to_string_lossy();
    let aside = state.with_file_name(format!("{DAMAGED}{name}"));
    remove(&aside)?;
    moved(state, &aside)
}

/// Sets the state after this step aside, and gives the one before it, if there is one.
pub(crate) fn take_back(
    folder: &Path,
    step: usize,
) -> Result<Option<(usize, PathBuf)>, TrainError> {
    let mut states = states(folder)?;
    if let Some((_, last)) = states.pop_if(|(last, _)| *last == step) {
        set_aside(&last)?;
    }
    Ok(states.pop())
}

/// As [`states`], under whatever names they have.
pub(super) fn seen(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let mut states = numbered(folder, STATE)?;
    // A process was killed between the two renames of `publish`.
    for (step, path) in numbered(folder, REPLACED)? {
        if states.iter().all(|(other, _)| *other != step) {
            states.push((step, path));
        }
    }
    states.sort();
    Ok(states)
}

/// The states below a folder with their steps, in that order.
pub(super) fn states(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let mut states = seen(folder)?;
    for (step, path) in &mut states {
        let whole = folder.join(format!("{STATE}{step:09}"));
        let is_replaced = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with(REPLACED)
        });
        if is_replaced {
            moved(path, &whole)?;
            *path = whole;
        }
    }
    Ok(states)
}

/// The folders whose names are `prefix` and a number.
fn numbered(folder: &Path, prefix: &str) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let failed = |error| TrainError::file(folder, error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name.and_then(|name| name.strip_prefix(prefix)?.parse().ok());
        found.extend(step.map(|step| (step, path)));
    }
    Ok(found)
}

fn moved(from: &Path, to: &Path) -> Result<(), TrainError> {
    fs::rename(from, to).map_err(|error| TrainError::file(to, error))
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
