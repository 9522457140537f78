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
use serde::de::{DeserializeOwned, Error as _};

use crate::{
    error::IoError,
    lfs,
    regular::{self, open_regular},
};

/// The most bytes of a file that is read as a whole: a configuration, a vocabulary. The largest that are
/// published have some 35 MB.
const MAX_SMALL_FILE: u64 = 256 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Named files: a folder on disk, or files that a program carries inside itself.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    Disk {
        folder: PathBuf,
        /// How large files are read.
        reading: Reading,
    },
    Memory {
        name: PathBuf,
        files: BTreeMap<String, Bytes>,
    },
}

/// How a large file's content comes into memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Mapped: the system reads the pages that are used, and processes share them.
    #[default]
    Mapped,
    /// Read whole, into memory of this process's own.
    Copied,
}

impl Files {
    /// A folder on disk.
    pub(crate) fn disk(folder: impl Into<PathBuf>, reading: Reading) -> Self {
        let folder = folder.into();
        Self::Disk { folder, reading }
    }

    /// The path that errors name.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    /// The folder, or the name of the files in memory.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Disk { folder, .. } => folder,
            Self::Memory { name, .. } => name,
        }
    }

    /// The files of a folder in this one.
    pub(crate) fn below(&self, folder: &str) -> Self {
        match self {
            Self::Disk {
                folder: path,
                reading,
            } => Self::disk(path.join(folder), *reading),
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
            Self::Disk { folder, .. } => folder.join(file).is_file(),
            Self::Memory { files, .. } => files.contains_key(file),
        }
    }

    /// The names of the files, sorted; those that are no UTF-8, which no checkpoint has, are left
    /// out.
    pub(crate) fn names(&self) -> Result<Vec<String>, IoError> {
        let mut names: Vec<String> = match self {
            Self::Disk { folder, .. } => fs::read_dir(folder)
                .and_then(Iterator::collect::<io::Result<Vec<_>>>)
                .map_err(|error| IoError::read(folder, error))?
                .into_iter()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect(),
            Self::Memory { files, .. } => files.keys().cloned().collect(),
        };
        names.sort();
        Ok(names)
    }

    /// A small file's content; `None` if there is no such file. JSON comes without the byte-order
    /// mark that some editors begin it with.
    pub(crate) fn read(&self, file: &str) -> Result<Option<Bytes>, IoError> {
        let content = match self {
            Self::Disk { .. } => match regular::read(&self.path(file), MAX_SMALL_FILE) {
                Ok(bytes) => Bytes::from(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(IoError::read(&self.path(file), error)),
            },
            Self::Memory { files, .. } => match files.get(file) {
                Some(bytes) => bytes.clone(),
                None => return Ok(None),
            },
        };
        self.check_fetched(file, &content)?;
        Ok(Some(match content.strip_prefix(BYTE_ORDER_MARK) {
            Some(text) if file.ends_with(".json") => content.slice_ref(text),
            _ => content,
        }))
    }

    /// Refuses what Git LFS leaves in place of a file that it did not fetch.
    fn check_fetched(&self, file: &str, content: &[u8]) -> Result<(), IoError> {
        match lfs::is_pointer(content) {
            true => Err(IoError::GitLfs {
                path: self.path(file),
            }),
            false => Ok(()),
        }
    }

    /// The content of a JSON file, which holds an object; `None` if there is no such file.
    pub(crate) fn json<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, IoError> {
        let Some(text) = self.read(file)? else {
            return Ok(None);
        };
        let path = self.path(file);
        // serde would take a list's items for the fields in their order.
        if text.trim_ascii_start().starts_with(b"[") {
            let fault = serde_json::Error::custom("a list stands where an object is due");
            return Err(IoError::json(&path, String::new(), fault));
        }
        parse_json(&path, &text).map(Some)
    }

    /// A large file's content, mapped unless the folder says otherwise; `None` if there is no such
    /// file.
    pub(crate) fn map(&self, file: &str) -> Result<Option<Content>, IoError> {
        let content = match self {
            Self::Disk { reading, .. } => map_at(&self.path(file), *reading)?,
            Self::Memory { .. } => self.read(file)?.map(Content::from),
        };
        if let Some(content) = &content {
            self.check_fetched(file, &content.bytes)?;
        }
        Ok(content)
    }
}

/// The content of a large file at a path, whose name need not be a text; `None` if there is no such
/// file.
pub(crate) fn map_at(path: &Path, reading: Reading) -> Result<Option<Content>, IoError> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IoError::read(path, error)),
    };
    let content = Content::of(&file, reading).map_err(|error| IoError::read(path, error))?;
    match lfs::is_pointer(&content.bytes) {
        true => Err(IoError::GitLfs {
            path: path.to_path_buf(),
        }),
        false => Ok(Some(content)),
    }
}

/// A large file's content.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    /// What the bytes are a view of, if it is a map.
    map: Option<Arc<memmap2::Mmap>>,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, map: None }
    }
}

impl Content {
    fn of(file: &File, reading: Reading) -> io::Result<Self> {
        match reading {
            Reading::Mapped => map(file).map(Self::mapped),
            Reading::Copied => copy(file).map(Self::from),
        }
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
    let file = open_regular(path).map_err(read)?;
    // No system maps nothing.
    if file.metadata().map_err(read)?.len() == 0 {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(map(&file).map_err(read)?))
}

/// Reads a file whole. In pages of their own, so that what is aligned in the file is aligned in
/// memory, as in a map.
fn copy(mut file: &File) -> io::Result<Bytes> {
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if len == 0 {
        return Ok(Bytes::new());
    }
    let mut pages = memmap2::MmapMut::map_anon(len)?;
    io::Read::read_exact(&mut file, &mut pages)?;
    Ok(Bytes::from_owner(pages.make_read_only()?))
}

/// Maps a file into memory, read-only.
#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: this process only ever reads the map, and what it decides by is read once: headers are
    // parsed from a copy, and every offset and shape is checked when the file is opened and kept
    // apart from the map. The map is shared with the file, so another process that writes into the
    // file changes the weights under us. That is a race by Rust's rules, which no check of ours can
    // rule out; what is read so are numbers alone, of which every bit pattern is valid, so that the
    // worst is a wrong answer. A file that is cut short is worse: reading past its new end raises
    // SIGBUS, which ends the process, and corrupts nothing. Whoever replaces a checkpoint in use
    // must rename another over it, and whoever cannot vouch for that reads a copy (`Reading`).
    unsafe { memmap2::MmapOptions::new().map(file) }
}

/// Tells the system that pages of a map are not needed for now.
#[cfg(unix)]
#[allow(unsafe_code)]
fn release_pages(map: &memmap2::Mmap, range: Range<usize>) {
    // SAFETY: of a map of a file that was never written to through it, DONTNEED drops this process's
    // view of pages that hold what the file holds; the next read brings the same bytes back from the
    // file, so that no reference to them notices. A copy in memory has no file to bring them back
    // from, and is never given here. A system that refuses loses nothing but memory.
    let _ = unsafe {
        map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
    };
}

/// Elsewhere the system decides by itself when to drop pages.
#[cfg(not(unix))]
fn release_pages(_: &memmap2::Mmap, _: Range<usize>) {}
