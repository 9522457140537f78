//! Reading whole files, and writing beside a name and renaming.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use blip2_io::open_regular;

use crate::error::TrainError;

/// What is in a file; a pipe or a device, which may have no end, is refused.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, TrainError> {
    let mut content = Vec::new();
    open_regular(path)
        .and_then(|mut file| file.read_to_end(&mut content))
        .map_err(|error| TrainError::file(path, error))?;
    Ok(content)
}

/// Writes a small file beside its name, and renames it when it is on the disk: whatever ends the
/// process, there is the whole file, or what was there before.
///
/// # Errors
///
/// [`TrainError::File`] naming it.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), TrainError> {
    whole(path, |partial| {
        File::create(partial).and_then(|mut file| file.write_all(content))
    })
}

/// Copies a file, which appears under its new name when all of it is there.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<(), TrainError> {
    whole(to, |partial| {
        // Not its permissions: what is written must be writable, whatever is read.
        let mut source = open_regular(from)?;
        io::copy(&mut source, &mut File::create(partial)?).map(|_| ())
    })
}

/// Has `write` write a file beside its name, and renames it when it is on the disk.
fn whole(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), TrainError> {
    let partial = partial(path);
    let written = write(&partial).and_then(|()| publish(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.map_err(|error| TrainError::file(path, error))
}

/// Where a file is written until it is whole: a name that no other writer has.
pub(super) fn partial(path: &Path) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{number}.partial", std::process::id()));
    name.into()
}

/// Removes what processes left in a folder that were killed while they wrote a file; whoever calls it has
/// the folder's [lock](super::FolderLock), so that nobody writes there. That one stays costs space alone.
pub fn clear_partial(folder: impl AsRef<Path>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_partial(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a name is one that [`partial`] gives.
fn is_partial(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = || {
        let (own, numbers) = name.strip_suffix(".partial")?.rsplit_once('.')?;
        let (process, number) = numbers.split_once('-')?;
        Some(!own.is_empty() && is_number(process) && is_number(number))
    };
    numbers().unwrap_or(false)
}

/// Gives a file that was written its name. It is on the disk before: a name without its content
/// would else be what a power failure leaves.
pub(super) fn publish(partial: &Path, path: &Path) -> io::Result<()> {
    // Open for writing: without that Windows does not flush.
    File::options().append(true).open(partial)?.sync_all()?;
    fs::rename(partial, path)
}

/// Lets those read a file who may read what this process writes: safetensors makes files that only
/// their owner may.
pub(super) fn share(path: &Path) -> io::Result<()> {
    let probe = partial(path);
    let permissions = File::create(&probe)?.metadata()?.permissions();
    fs::remove_file(&probe)?;
    fs::set_permissions(path, permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let own = partial(&folder.path().join("metrics.csv"));
        let others = [
            "my.partial",
            "a.12.partial",
            ".1-2.partial",
            "a.1-x.partial",
        ];
        fs::write(&own, "half").unwrap();
        for name in others {
            fs::write(folder.path().join(name), "not ours").unwrap();
        }
        clear_partial(folder.path());
        assert!(!own.exists());
        for name in others {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
