//! A file's place in a snapshot, and what a revision is.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::error::IoError;

/// Puts a blob into a snapshot under its own name, as Python does: by a relative link, or a copy where
/// the system has no links.
pub(super) fn link(blob: &Path, snapshot: &Path, name: &str) -> Result<(), IoError> {
    let path = snapshot.join(name);
    if path.is_file() && fs::canonicalize(&path).ok() == fs::canonicalize(blob).ok() {
        return Ok(());
    }
    let failed = |error| IoError::write(&path, error);
    let folder = path.parent().unwrap_or(snapshot);
    fs::create_dir_all(folder).map_err(failed)?;
    let beside = beside(&path);
    // From the snapshot's folder up to `models--owner--name`, and down to `blobs`.
    let up = Path::new(name).components().count() + 1;
    let mut target = PathBuf::new();
    target.extend((0..up).map(|_| Component::ParentDir));
    target.push("blobs");
    target.push(blob.file_name().unwrap_or_default());
    linked(&target, blob, &beside)
        .and_then(|()| fs::rename(&beside, &path))
        .map_err(failed)
}

#[cfg(unix)]
fn linked(target: &Path, _: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn linked(_: &Path, blob: &Path, link: &Path) -> io::Result<()> {
    fs::copy(blob, link).map(|_| ())
}

/// Writes down which commit a revision is.
pub(super) fn record(model: &Path, revision: &str, commit: &str) -> Result<(), IoError> {
    if revision == commit {
        return Ok(());
    }
    let path = model.join("refs").join(revision);
    let failed = |error| IoError::write(&path, error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = beside(&path);
    fs::write(&beside, commit)
        .and_then(|()| fs::rename(&beside, &path))
        .map_err(failed)
}

/// A name beside a file that no other process and no other thread writes.
fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.{count}.tmp", process::id()));
    let beside = path.with_file_name(name);
    // What a process of the same number left when it was killed.
    let _ = fs::remove_file(&beside);
    beside
}
