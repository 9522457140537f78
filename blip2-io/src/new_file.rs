//! Files that appear whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// A file that takes its name when it is whole: it is written beside it, under a name of its own,
/// brought to the disk and renamed. Whoever had the old file open keeps it, and nobody ever sees half
/// of the new one; of two that write the same file, the later one's stays. Dropped before
/// [`finish`](Self::finish), it leaves nothing.
///
/// A link is followed, so that it goes on leading to the file. What is neither a file nor nothing (a
/// folder, a named pipe, a device) is never replaced by one.
///
/// ```
/// use std::io::Write;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("answers.txt");
/// let mut file = blip2_io::NewFile::create(&path)?;
/// writeln!(file, "red")?;
/// assert!(!path.exists());
/// file.finish()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "red\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    partial: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file beside `path`.
    ///
    /// # Errors
    ///
    /// Whatever the system says, and [`io::ErrorKind::InvalidInput`] where something is that no file
    /// may replace.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = replaceable(path.as_ref())?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".");
        builder.prefix(&name).suffix(".partial");
        readable_as_others(&mut builder);
        let partial = builder.tempfile_in(folder)?;
        Ok(Self { partial, path })
    }

    /// Where it is written until it is whole: for libraries that write to a path.
    pub fn partial(&self) -> &Path {
        self.partial.path()
    }

    /// Gives it its name. Its content is on the disk before: a name without it would else be what a
    /// power failure leaves.
    ///
    /// # Errors
    ///
    /// Whatever the system says; the old file is as it was then.
    pub fn finish(self) -> io::Result<()> {
        // By its path, since a library may have put another file there; and for writing, without
        // which Windows does not flush.
        File::options()
            .append(true)
            .open(self.partial.path())?
            .sync_all()?;
        self.partial
            .persist(&self.path)
            .map(drop)
            .map_err(|error| error.error)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.partial.as_file_mut().flush()
    }
}

/// Writes a small file, whole or not at all, as [`NewFile`] does.
///
/// # Errors
///
/// As [`NewFile::create`] and [`NewFile::finish`].
pub fn write_file(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(content.as_ref())?;
    file.finish()
}

/// How many links lead on, at most.
const LINKS: usize = 40;

/// Where a file of this name is or would be, links followed.
fn replaceable(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        let kind = match fs::symlink_metadata(&path) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        };
        if kind.is_file() {
            return Ok(path);
        }
        if !kind.is_symlink() {
            let what = if kind.is_dir() {
                "folder"
            } else {
                "pipe or device"
            };
            let reason = format!("is a {what}, which no file replaces; give another name");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let target = fs::read_link(&path)?;
        path = match path.parent() {
            Some(folder) => folder.join(target),
            None => target,
        };
    }
    let reason = "is a link that leads round in a circle";
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// Lets those read the file who may read what this process writes: a temporary file is its owner's
/// alone otherwise.
#[cfg(unix)]
fn readable_as_others(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    // The process's mask takes away from these.
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn readable_as_others(_: &mut tempfile::Builder<'_, '_>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_before_its_end_and_nothing_is_left_of_what_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_file(&path, "old").unwrap();
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_file(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn two_that_write_at_once_have_a_name_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let (mut one, mut other) = (
            NewFile::create(&path).unwrap(),
            NewFile::create(&path).unwrap(),
        );
        one.write_all(b"one").unwrap();
        other.write_all(b"other").unwrap();
        other.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
        one.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }

    #[test]
    fn a_folder_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_file(folder.path(), "x").unwrap_err();
        assert!(error.to_string().contains("is a folder"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_left_alone() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("far")).unwrap();
        symlink("far/file", at("link")).unwrap();
        write_file(at("link"), "through").unwrap();
        assert_eq!(fs::read_to_string(at("far/file")).unwrap(), "through");
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        symlink("round", at("round")).unwrap();
        let error = write_file(at("round"), "x").unwrap_err();
        assert!(error.to_string().contains("circle"), "{error}");
        let error = write_file("/dev/null", "x").unwrap_err();
        assert!(error.to_string().contains("device"), "{error}");

        fs::write(at("plain"), "").unwrap();
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode();
        assert_eq!(mode("far/file"), mode("plain"), "who may read it");
    }
}
