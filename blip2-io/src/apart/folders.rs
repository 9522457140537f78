//! Folders that are written are not those that are read.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::same::is_same;
use crate::error::IoError;

/// Refuses to write a folder at `written` where that is `read`, or one of them lies in the other. Links and
/// relative paths are followed; neither need exist.
///
/// ```
/// use blip2_io::check_folders_apart;
///
/// assert!(check_folders_apart("runs/mine/model", "models/base").is_ok());
/// assert!(check_folders_apart("models/base/../base/run", "models/base").is_err());
/// ```
///
/// # Errors
///
/// [`IoError::OntoInput`] naming both, and [`IoError::Read`] for a path that cannot be followed.
pub fn check_folders_apart(
    written: impl AsRef<Path>,
    read: impl AsRef<Path>,
) -> Result<(), IoError> {
    let (written, read) = (written.as_ref(), read.as_ref());
    let (at, from) = (followed(written)?, followed(read)?);
    match at.starts_with(&from) || holds(&at, &from) {
        true => Err(overlap(written, read)),
        false => Ok(()),
    }
}

/// Refuses to write at `written` where that is `read`, or `read` lies in it; it may lie in `read`, as a
/// folder of results beside pictures does.
///
/// # Errors
///
/// As [`check_folders_apart`].
pub fn check_keeps(written: impl AsRef<Path>, read: impl AsRef<Path>) -> Result<(), IoError> {
    let (written, read) = (written.as_ref(), read.as_ref());
    match holds(&followed(written)?, &followed(read)?) {
        true => Err(overlap(written, read)),
        false => Ok(()),
    }
}

/// Whether a path is another one, or has it in it.
fn holds(path: &Path, other: &Path) -> bool {
    other.starts_with(path) || is_same(path, other)
}

fn overlap(written: &Path, read: &Path) -> IoError {
    IoError::OntoInput {
        output: written.to_path_buf(),
        input: read.to_path_buf(),
    }
}

fn followed(path: &Path) -> Result<PathBuf, IoError> {
    real(path).map_err(|error| IoError::read(path, error))
}

/// The path without links and `..`, as far as it exists.
fn real(path: &Path) -> io::Result<PathBuf> {
    let mut known = std::path::absolute(path)?;
    let mut rest = Vec::new();
    loop {
        match fs::canonicalize(&known) {
            Ok(mut real) => {
                real.extend(rest.iter().rev());
                return Ok(plain(&real));
            }
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
        let Some(last) = known
            .components()
            .next_back()
            .map(|part| part.as_os_str().to_owned())
        else {
            return Ok(plain(path));
        };
        rest.push(last);
        if !known.pop() {
            return Ok(plain(path));
        }
    }
}

/// Whether there is nothing at a path, or above it something that is no folder.
fn is_absent(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::NotFound || kind == io::ErrorKind::NotADirectory
}

/// The path with each `..` taken together with the folder before it.
fn plain(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                found.pop();
            }
            part => found.push(part),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_known_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("base/deep")).unwrap();
        fs::create_dir_all(at("other")).unwrap();
        for written in [
            "base",
            "base/run",
            "base/deep/run",
            "other/../base",
            "",
            "new/../base/x",
        ] {
            assert!(
                check_folders_apart(at(written), at("base")).is_err(),
                "{written}"
            );
        }
        assert!(check_keeps(at("base"), at("base/deep")).is_err());
        assert!(check_keeps(at("base/deep"), at("base")).is_ok());
        for written in ["other", "base2", "other/base", "base/../base2"] {
            assert!(
                check_folders_apart(at(written), at("base")).is_ok(),
                "{written}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("base")).unwrap();
        fs::write(at("base/data.jsonl"), "{}").unwrap();
        symlink(at("base"), at("link")).unwrap();
        fs::hard_link(at("base/data.jsonl"), at("hard.jsonl")).unwrap();
        assert!(check_folders_apart(at("link/run"), at("base")).is_err());
        assert!(check_folders_apart(at("base"), at("link")).is_err());
        assert!(check_folders_apart(at("hard.jsonl"), at("base/data.jsonl")).is_err());
        assert!(check_folders_apart(at("soft.jsonl"), at("base/data.jsonl")).is_ok());
    }
}
