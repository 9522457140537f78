//! Folders that one process at a time writes in.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::Path,
};

use crate::error::TrainError;

/// A folder that no other process trains in as long as this lives. The system lifts the lock when the
/// process ends, however it ends.
///
/// ```
/// use blip2_train::FolderLock;
///
/// # let folder = std::env::temp_dir().join(format!("blip2-lock-{}", std::process::id()));
/// let lock = FolderLock::take(&folder)?;
/// assert!(FolderLock::take(&folder).is_err());
/// drop(lock);
/// assert!(FolderLock::take(&folder).is_ok());
/// # let _ = std::fs::remove_dir_all(&folder);
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock is lifted when this is dropped"]
pub struct FolderLock {
    _file: File,
}

/// It stays when the lock is lifted: another process may wait for it already.
const NAME: &str = ".lock";

impl FolderLock {
    /// Takes a folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// [`TrainError::InUse`] if another process has it, and [`TrainError::File`] if it cannot be
    /// written in.
    pub fn take(folder: impl AsRef<Path>) -> Result<Self, TrainError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
        let path = folder.join(NAME);
        let failed = |error| TrainError::file(&path, error);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        lock(&mut file, folder, &path)?;
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Refuses a folder that another process has, and makes nothing.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn probe(folder: impl AsRef<Path>) -> Result<(), TrainError> {
        let folder = folder.as_ref();
        let path = folder.join(NAME);
        match File::options().read(true).write(true).open(&path) {
            Ok(mut file) => lock(&mut file, folder, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(TrainError::file(&path, error)),
        }
    }
}

/// Locks a folder's file.
fn lock(file: &mut File, folder: &Path, path: &Path) -> Result<(), TrainError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(TrainError::InUse {
            path: folder.to_path_buf(),
            process: holder(file),
        }),
        // A file system without locks: nobody else can be told apart there.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(TrainError::file(path, error)),
    }
}

/// The process that has the lock, where the file can be read.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
