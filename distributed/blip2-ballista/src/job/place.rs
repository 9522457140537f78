//! The folder that results go to.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use super::{manifest::Manifest, split::Split};
use crate::error::ClusterError;

/// What was asked of the jobs that write here.
const MANIFEST: &str = "_sql.json";
/// Held by the process that writes here.
const LOCK: &str = ".sql.lock";

/// The folder of a job's results, which no other process writes to meanwhile.
pub(super) struct Place {
    folder: PathBuf,
    /// Given up when the process ends, however it does.
    _lock: File,
}

impl Place {
    /// Opens the folder, which may not be the one that the table is read from.
    pub(super) fn open(folder: &Path, input: &Path) -> Result<Self, ClusterError> {
        fs::create_dir_all(folder).map_err(ClusterError::file(folder))?;
        let read = match input.is_dir() {
            true => input,
            false => input.parent().unwrap_or(Path::new("")),
        };
        let real = |path: &Path| std::path::absolute(path).and_then(|path| path.canonicalize());
        if real(folder).is_ok_and(|folder| real(read).is_ok_and(|read| folder == read)) {
            return Err(ClusterError::Asked(format!(
                "{}: the table is read from this folder; give --output another one",
                folder.display()
            )));
        }
        let path = folder.join(LOCK);
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(ClusterError::file(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ClusterError::Asked(format!(
                    "{}: another process writes to this folder",
                    folder.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(ClusterError::file(&path)(error)),
        }
        let place = Self {
            folder: folder.to_path_buf(),
            _lock: lock,
        };
        place.clean(is_half)?;
        Ok(place)
    }

    /// Goes on only with what the job before was asked, unless that is to be thrown away.
    pub(super) fn agree(&self, manifest: &Manifest, restart: bool) -> Result<(), ClusterError> {
        let path = self.folder.join(MANIFEST);
        if path.exists() && restart {
            self.clean(|name| name.ends_with(".parquet"))?;
        } else if path.exists() {
            if let Some(difference) = manifest.difference(&Manifest::read(&path)?) {
                return Err(ClusterError::Asked(format!(
                    "{}: {difference}; give --restart to begin anew, or --output another folder",
                    self.folder.display()
                )));
            }
        } else if self.names()?.iter().any(|name| name.ends_with(".parquet")) {
            return Err(ClusterError::Asked(format!(
                "{}: holds files that no such job wrote; give --output another folder",
                self.folder.display()
            )));
        }
        manifest.write(&path)
    }

    /// Where a split's result goes.
    pub(super) fn of(&self, split: &Split) -> PathBuf {
        self.folder.join(&split.name)
    }

    /// Whether a split is done.
    pub(super) fn has(&self, split: &Split) -> bool {
        self.of(split).exists()
    }

    fn names(&self) -> Result<Vec<String>, ClusterError> {
        let failed = || ClusterError::file(&self.folder);
        let files = fs::read_dir(&self.folder).map_err(failed())?;
        let names = files.map(|file| -> Result<String, ClusterError> {
            let file = file.map_err(failed())?;
            Ok(file.file_name().to_string_lossy().into_owned())
        });
        names.collect()
    }

    fn clean(&self, is_waste: impl Fn(&str) -> bool) -> Result<(), ClusterError> {
        for name in self.names()?.into_iter().filter(|name| is_waste(name)) {
            let path = self.folder.join(name);
            fs::remove_file(&path).map_err(ClusterError::file(path))?;
        }
        Ok(())
    }
}

/// Whether a file was being written when its process was killed.
fn is_half(name: &str) -> bool {
    name.starts_with('.') && name.contains(".parquet.") && name.ends_with(".partial")
}
