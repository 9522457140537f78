//! Writing beside a name and renaming.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::error::TrainError;

/// Writes a file beside its name, and renames it when it is on the disk.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<(), TrainError> {
    let partial = partial(path);
    let written = File::create(&partial).and_then(|mut file| file.write_all(content));
    written
        .and_then(|()| publish(&partial, path))
        .map_err(|error| TrainError::file(path, error))
}

/// Where a file is written until it is whole.
pub(super) fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
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
