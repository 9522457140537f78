//! Locks of what is read, changed and written again.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// The right to change a file, which one process has at a time: between reading it and writing it
/// again, nobody else writes it who asks for the same.
///
/// It is a lock of the system's on a file `NAME.lock` beside it, which goes with the lock's end,
/// however the process ends. What another name of the same file leads to is not locked.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("photos.idx");
/// let lock = blip2_io::FileLock::wait(&path)?;
/// assert!(blip2_io::FileLock::try_now(&path)?.is_none());
/// drop(lock);
/// assert!(blip2_io::FileLock::try_now(&path)?.is_some());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Waits until nobody else has the right to change the file at `path`, and takes it.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn wait(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = beside(path.as_ref());
        loop {
            let file = open(&path)?;
            file.lock()?;
            if let Some(lock) = Self::of(file, &path)? {
                return Ok(lock);
            }
        }
    }

    /// Takes the right to change the file at `path`; `None` if another has it.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn try_now(path: impl AsRef<Path>) -> io::Result<Option<Self>> {
        let path = beside(path.as_ref());
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if let Some(lock) = Self::of(file, &path)? {
                return Ok(Some(lock));
            }
        }
    }

    /// The lock on a file that is locked now, if it still has its name: who had it before took the
    /// name away at the end, and a third may lock another file of that name already.
    fn of(file: File, path: &Path) -> io::Result<Option<Self>> {
        if !is_at(&file, path)? {
            return Ok(None);
        }
        let path = path.to_path_buf();
        Ok(Some(Self { file, path }))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Its name first: whoever waits for it sees that it has none any more, and asks again.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// Whether an open file is the one of this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let file = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere a file that someone has open keeps its name.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    Ok(path.exists())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn one_at_a_time_has_it_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("count");
        fs::write(&path, "0").unwrap();
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _lock = FileLock::wait(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        let count: u32 = fs::read_to_string(&path).unwrap().parse().unwrap();
                        fs::write(&path, (count + 1).to_string()).unwrap();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "160");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
