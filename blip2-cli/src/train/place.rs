//! Where a training writes: nowhere that it reads, and where there is room.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
};

use blip2_io::{IoError, check_folders_apart, check_keeps};
use blip2_train::{FolderLock, clear_partial};

use super::{config::Config, failure};
use crate::{Failure, words};

/// The folder `out`, and what is in it.
pub(super) struct Place {
    out: PathBuf,
}

impl Place {
    pub(super) fn new(out: PathBuf) -> Self {
        Self { out }
    }

    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    /// The trained model.
    pub(super) fn model(&self) -> PathBuf {
        self.out.join("model")
    }

    /// The adapters alone.
    pub(super) fn adapter(&self) -> PathBuf {
        self.out.join("adapter")
    }

    /// States to go on from.
    pub(super) fn states(&self) -> PathBuf {
        self.out.join("states")
    }

    /// Whether there is a state to go on from, or what was one.
    pub(super) fn has_states(&self) -> bool {
        let entries = fs::read_dir(self.states()).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name());
        names.any(|name| is_state(&name))
    }

    /// The bytes of the states that there are.
    fn held_by_states(&self) -> u64 {
        let entries = fs::read_dir(self.states()).into_iter().flatten().flatten();
        let states = entries.filter(|entry| is_state(&entry.file_name()));
        states.map(|entry| held_by(&entry.path())).sum()
    }

    /// Takes the folder, and removes what a process left half written in it that was killed. A dry run
    /// refuses a folder that another process has, and makes nothing.
    pub(super) fn lock(&self, is_dry: bool) -> Result<Option<FolderLock>, Failure> {
        if is_dry {
            return FolderLock::probe(&self.out).map(|()| None).map_err(failure);
        }
        let lock = FolderLock::take(&self.out).map_err(failure)?;
        for folder in [self.out.clone(), self.model(), self.adapter()] {
            clear_partial(folder);
        }
        Ok(Some(lock))
    }

    /// Curves for TensorBoard.
    pub(super) fn board(&self) -> PathBuf {
        self.out.join("tensorboard")
    }

    /// What the training was, for whoever goes on with it.
    pub(super) fn account(&self) -> PathBuf {
        self.out.join("run.json")
    }

    /// What was found while the examples were checked.
    pub(super) fn checked(&self) -> PathBuf {
        self.out.join("checked.json")
    }

    /// Refuses to write onto what is read. `config` is the file at `path`, whose folder is `base`, and
    /// its model is in `model`.
    pub(super) fn check_apart(
        &self,
        config: &Config,
        path: &Path,
        base: &Path,
        model: &Path,
    ) -> Result<(), Failure> {
        let start = config.lora.as_ref().and_then(|lora| lora.start.as_ref());
        let start = start.map(|start| base.join(start));
        let validation = config.validation.iter().map(|own| &own.data);
        let data = config.data.iter().chain(validation);
        for folder in data.clone().filter_map(|data| data.folder_of_records(base)) {
            check_folders_apart(&self.out, folder).map_err(overlap)?;
        }
        let mut read: Vec<PathBuf> = data.flat_map(|data| data.paths(base)).collect();
        read.push(path.to_path_buf());
        for written in self.written() {
            for folder in start.as_deref().into_iter().chain([model]) {
                check_folders_apart(&written, folder).map_err(overlap)?;
            }
            for path in &read {
                check_keeps(&written, path).map_err(overlap)?;
            }
        }
        Ok(())
    }

    fn written(&self) -> Vec<PathBuf> {
        let folders = [self.model(), self.adapter(), self.states(), self.board()];
        folders.into_iter().chain(self.files()).collect()
    }

    /// The files that are written, beside those in folders.
    fn files(&self) -> Vec<PathBuf> {
        let names = ["metrics.jsonl", "metrics.csv", "scores.jsonl", "curve.svg"];
        let names = names.iter().map(|name| self.out.join(name));
        let own = [self.account(), self.checked()];
        own.into_iter().chain(names).collect()
    }

    /// Refuses a folder that cannot be written in; nothing is made.
    pub(super) fn check_writable(&self) -> Result<(), Failure> {
        let folders = [
            self.out.clone(),
            self.model(),
            self.adapter(),
            self.states(),
            self.board(),
        ];
        let mut own = folders
            .iter()
            .filter(|folder| *folder == &self.out || folder.exists());
        own.try_for_each(|folder| probed(folder))?;
        match self.files().into_iter().find(|file| file.is_dir()) {
            None => Ok(()),
            Some(file) => Err(Failure::Work(format!(
                "{} would be written, and is a folder: remove it, or give another `out`",
                file.display()
            ))),
        }
    }

    /// The folders that hold weights: those are written last, and what was ended before is no model.
    fn trained(&self) -> Vec<PathBuf> {
        let holds_weights = |folder: &PathBuf| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let ends = [".safetensors", ".bin"]
                    .iter()
                    .any(|end| name.ends_with(end));
                ends && !name.starts_with('.')
            })
        };
        let mut folders = vec![self.model(), self.adapter()];
        folders.retain(holds_weights);
        folders
    }

    /// Refuses a folder with a trained model that this training would not go on from, but replace.
    pub(super) fn check_new(&self) -> Result<(), Failure> {
        if self.has_states() {
            return Ok(());
        }
        match self.trained().first() {
            None => Ok(()),
            Some(own) => Err(Failure::Work(format!(
                "{} holds what was trained before, and {} has no state to go on from: it would be replaced; move it \
                 away, or give another `out`",
                own.display(),
                self.states().display()
            ))),
        }
    }

    /// Refuses what would have a file larger than this process may write; `needed` is in bytes.
    pub(super) fn check_largest(&self, needed: u64) -> Result<(), Failure> {
        match largest_file() {
            Some(most) if needed > most => Err(Failure::Work(format!(
                "{}: the largest file needs {}, and no file of this process may be larger than {} (`ulimit -f`)",
                self.out.display(),
                size(needed),
                size(most)
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses what would not fit on the disk; `needed` is in bytes, those among them that states have which are
    /// there and will be replaced.
    pub(super) fn check_room(&self, needed: u64) -> Result<(), Failure> {
        let needed = needed.saturating_sub(self.held_by_states());
        let Some(folder) = existing(&self.out) else {
            return Ok(());
        };
        // Where the system does not say it, writing will.
        let Ok(free) = fs4::available_space(folder) else {
            return Ok(());
        };
        if needed <= free {
            return Ok(());
        }
        Err(Failure::Work(format!(
            "{}: the model, its adapters and three states need {}, and {} are free; make room, or give another `out`",
            self.out.display(),
            size(needed),
            size(free)
        )))
    }
}

/// How much that is, so that what is near to one another is told apart.
fn size(bytes: u64) -> String {
    match bytes {
        ..1_000_000_000 => format!("{:.3} MB", bytes as f64 / 1e6),
        _ => format!("{:.3} GB", bytes as f64 / 1e9),
    }
}

/// Whether a folder's name is that of a state, or of one on its way to be replaced.
fn is_state(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("step-") || name.starts_with("replaced-")
}

/// The bytes of a folder's files, in its folders too.
fn held_by(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let held = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => held_by(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    held.sum()
}

/// The bytes of the largest file that this process may write (`RLIMIT_FSIZE`), where that is limited and known.
fn largest_file() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max file size"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Writes a file in a folder, or in the nearest one above it that there is, and removes it.
pub(super) fn probed(folder: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let text = format!("{} cannot be written in: {error}", folder.display());
        Failure::Work(text)
    };
    if folder.is_symlink() && !folder.exists() {
        return Err(failed(&"it is a link to what is not there"));
    }
    let Some(at) = existing(folder) else {
        return Err(failed(&"no folder above it exists"));
    };
    if !at.is_dir() {
        return Err(failed(&format!("{} is no folder", at.display())));
    }
    let probe = at.join(format!(".blip2-{}.probe", std::process::id()));
    File::create(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|error| failed(&words::of_system(&error)))
}

/// The nearest folder, or file, at or above a path.
fn existing(path: &Path) -> Option<&Path> {
    let found = path.ancestors().find(|path| path.exists());
    // The folder above a relative path's first part.
    found.or_else(|| path.is_relative().then_some(Path::new(".")))
}

fn overlap(error: IoError) -> Failure {
    match error {
        IoError::OntoInput { output, input } => Failure::Work(format!(
            "`out` would be written onto what is read: {} onto {}; give another `out`",
            output.display(),
            input.display()
        )),
        other => Failure::work(other),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn states_that_will_be_replaced_need_no_room_beside_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_path_buf());
        let free = fs4::available_space(folder.path()).unwrap();
        let much = 1 << 34;
        let needed = free + much;
        assert!(place.check_room(needed).is_err());
        // Of these lengths, and next to nothing on the disk.
        for state in ["step-000000002", "other"] {
            let state = place.states().join(state);
            fs::create_dir_all(&state).unwrap();
            let file = File::create(state.join("trained.safetensors")).unwrap();
            file.set_len(2 * much).unwrap();
        }
        assert_eq!(place.held_by_states(), 2 * much);
        assert!(place.check_room(needed).is_ok());
        assert!(place.check_room(needed + 2 * much).is_err());
    }
}
