//! Opening what is a file and nothing else.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Opens a file for reading. A pipe, a device or a folder is refused before it is opened: the first
/// waits for a writer who may never come, the second may have no end.
///
/// # Errors
///
/// If there is no such file, it is none, or the system does not give it.
///
/// ```
/// use blip2_io::open_regular;
///
/// assert!(open_regular(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).is_ok());
/// assert!(open_regular(env!("CARGO_MANIFEST_DIR")).is_err());
/// ```
pub fn open_regular(path: impl AsRef<Path>) -> io::Result<File> {
    opened(path.as_ref()).map_err(plainly)
}

fn opened(path: &Path) -> io::Result<File> {
    check(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    // The name may lead elsewhere by now.
    check(&file.metadata()?)?;
    Ok(file)
}

/// An error of the system in plain words, without its number; its kind stays.
pub(crate) fn plainly(error: io::Error) -> io::Error {
    let kind = error.kind();
    if error.get_ref().is_some() {
        return error;
    }
    let said = match kind {
        io::ErrorKind::NotFound => "there is no such file or folder".into(),
        io::ErrorKind::IsADirectory => "it is a folder, and a file is due".into(),
        io::ErrorKind::NotADirectory => "it is a file, or below one, where a folder is due".into(),
        io::ErrorKind::PermissionDenied => {
            "it may not be read: this user has no permission to".to_string()
        }
        _ => {
            let said = error.to_string();
            let end = said.find(" (os error").unwrap_or(said.len());
            said[..end].to_string()
        }
    };
    io::Error::new(kind, said)
}

/// The bytes of a file, of which there may be `limit`.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let length = file.metadata()?.len();
    let too_long = || {
        let text = format!("the file has more than {limit} bytes, which is the limit for its kind");
        io::Error::new(io::ErrorKind::FileTooLarge, text)
    };
    if length > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // It may grow while it is read.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(plainly)?;
    match bytes.len() as u64 > limit {
        true => Err(too_long()),
        false => Ok(bytes),
    }
}

fn check(found: &fs::Metadata) -> io::Result<()> {
    match (found.is_file(), found.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file but a pipe, a socket or a device; save what it gives to a file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("four");
        fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(
            read(&path, 3).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert_eq!(
            read(folder.path(), 3).unwrap_err().kind(),
            io::ErrorKind::IsADirectory
        );
    }

    #[test]
    fn what_cannot_be_opened_is_told_without_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        for (path, said) in [
            (
                folder.path().join("none"),
                "there is no such file or folder",
            ),
            (
                folder.path().to_path_buf(),
                "it is a folder, and a file is due",
            ),
        ] {
            assert_eq!(open_regular(path).unwrap_err().to_string(), said);
        }
        let error = plainly(io::Error::from_raw_os_error(5)).to_string();
        assert!(!error.contains("os error"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_refused() {
        let error = read(Path::new("/dev/zero"), 10).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
