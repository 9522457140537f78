//! The files of a checkpoint folder, on disk or in memory.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::error::IoError;

/// Named files: a folder on disk, or files that a program carries inside itself.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    Disk(PathBuf),
    Memory {
        name: PathBuf,
        files: BTreeMap<String, Bytes>,
    },
}

impl Files {
    /// The path that errors name.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    /// The folder, or the name of the files in memory.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Disk(folder) => folder,
            Self::Memory { name, .. } => name,
        }
    }

    /// The files of a folder in this one.
    pub(crate) fn below(&self, folder: &str) -> Self {
        match self {
            Self::Disk(path) => Self::Disk(path.join(folder)),
            Self::Memory { name, files } => Self::Memory {
                name: name.join(folder),
                files: files
                    .iter()
                    .filter_map(|(path, bytes)| {
                        let name = path.strip_prefix(folder)?.strip_prefix('/')?;
                        Some((name.to_string(), bytes.clone()))
                    })
                    .collect(),
            },
        }
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        match self {
            Self::Disk(folder) => folder.join(file).is_file(),
            Self::Memory { files, .. } => files.contains_key(file),
        }
    }

    /// A small file's content; `None` if there is no such file.
    pub(crate) fn read(&self, file: &str) -> Result<Option<Bytes>, IoError> {
        match self {
            Self::Disk(_) => match fs::read(self.path(file)) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(IoError::read(&self.path(file), error)),
            },
            Self::Memory { files, .. } => Ok(files.get(file).cloned()),
        }
    }

    /// A JSON file's content; `None` if there is no such file.
    pub(crate) fn json<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, IoError> {
        let Some(text) = self.read(file)? else {
            return Ok(None);
        };
        parse_json(&self.path(file), &text).map(Some)
    }

    /// A large file's content, mapped rather than read; `None` if there is no such file.
    pub(crate) fn map(&self, file: &str) -> Result<Option<Content>, IoError> {
        match self {
            Self::Disk(_) => {
                let path = self.path(file);
                match File::open(&path) {
                    Ok(file) => map(&file)
                        .map(|map| Some(Content::mapped(map)))
                        .map_err(|error| IoError::read(&path, error)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(IoError::read(&path, error)),
                }
            }
            Self::Memory { .. } => Ok(self.read(file)?.map(Content::held)),
        }
    }
}

/// A large file's content.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    /// What the bytes are a view of, if it is a map.
    map: Option<Arc<memmap2::Mmap>>,
}

impl Content {
    /// Bytes that are in memory.
    pub(crate) fn held(bytes: Bytes) -> Self {
        Self { bytes, map: None }
    }

    fn mapped(map: memmap2::Mmap) -> Self {
        let map = Arc::new(map);
        Self {
            bytes: Bytes::from_owner(View(Arc::clone(&map))),
            map: Some(map),
        }
    }

    /// Gives back the memory in which pages of a mapped file are held. Whoever reads them again
    /// finds the same bytes, from the system's cache or from the disk.
    pub(crate) fn release(&self, range: Range<usize>) {
        if let Some(map) = &self.map
            && range.end <= map.len()
            && !range.is_empty()
        {
            release_pages(map, range);
        }
    }
}

struct View(Arc<memmap2::Mmap>);

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Parses the JSON text of the file at `path`. Errors name the key, the line and the column.
pub(crate) fn parse_json<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, IoError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let key = error.path().to_string();
        IoError::json(path, key, error.into_inner())
    })?;
    reader
        .end()
        .map_err(|error| IoError::json(path, String::new(), error))?;
    Ok(value)
}

/// A file's bytes, mapped into memory rather than read, as weights are: for other large files of
/// numbers that are checked when they are opened. Whoever replaces such a file must do so by
/// renaming another over it.
///
/// # Errors
///
/// [`IoError::Read`] naming the file.
///
/// ```
/// let bytes = blip2_io::map_file(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
/// assert!(bytes.starts_with(b"[package]"));
/// # Ok::<(), blip2_io::IoError>(())
/// ```
pub fn map_file(path: impl AsRef<Path>) -> Result<Bytes, IoError> {
    let path = path.as_ref();
    let read = |error| IoError::read(path, error);
    let file = File::open(path).map_err(read)?;
    // No system maps nothing.
    if file.metadata().map_err(read)?.len() == 0 {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(map(&file).map_err(read)?))
}

/// Maps a file into memory, read-only.
#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: the map is only ever read. Should another process change the file, the weights would
    // change under us, as numbers: every offset and shape was checked when the file was opened and
    // is kept apart from the map, and any bit pattern is a valid float. Should the file be cut
    // short, reading past its end raises SIGBUS, which ends the process and corrupts nothing;
    // whoever replaces a checkpoint in use must do so by renaming, as all well-behaved tools do.
    unsafe { memmap2::MmapOptions::new().map(file) }
}

/// Tells the system that pages of a map are not needed for now.
#[cfg(unix)]
#[allow(unsafe_code)]
fn release_pages(map: &memmap2::Mmap, range: Range<usize>) {
    // SAFETY: of a private map that was never written to, DONTNEED drops pages that hold what the
    // file holds; the next read brings the same bytes back, so that no reference to them notices.
    // A system that refuses loses nothing but memory.
    let _ = unsafe {
        map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
    };
}

/// Elsewhere the system decides by itself when to drop pages.
#[cfg(not(unix))]
fn release_pages(_: &memmap2::Mmap, _: Range<usize>) {}
