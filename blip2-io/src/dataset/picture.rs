//! Where a picture is.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use image::RgbImage;
use zip::ZipArchive;

#[cfg(feature = "tables")]
use super::parquet::TablePicture;
use super::{DatasetError, shard::ShardMember};
use crate::{
    preprocessing::{DecodeOptions, decode_bytes, decode_file},
    regular::open_regular,
    video::{Video, VideoOptions},
};

/// A picture in a file, or in an archive of many.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PictureFile {
    /// A file of its own.
    File(PathBuf),
    /// A member of a tar archive, one of many shards.
    Shard(ShardMember),
    /// A cell of a table in Parquet.
    #[cfg(feature = "tables")]
    Row(TablePicture),
    /// A member of a zip archive, as a wheel is.
    Member {
        /// The archive.
        archive: Archive,
        /// The member's name.
        name: String,
    },
}

/// An open zip archive, read by one thread at a time.
#[derive(Debug, Clone)]
pub struct Archive {
    path: PathBuf,
    zip: Arc<Mutex<ZipArchive<File>>>,
}

impl From<PathBuf> for PictureFile {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl PictureFile {
    /// What errors call it.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Shard(member) => member.path(),
            #[cfg(feature = "tables")]
            Self::Row(picture) => picture.path(),
            Self::Member { archive, name } => archive.path.join(name),
        }
    }

    /// The file on the disk that it is in.
    pub(super) fn file(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Shard(member) => member.shard().to_path_buf(),
            #[cfg(feature = "tables")]
            Self::Row(picture) => picture.file().to_path_buf(),
            Self::Member { archive, .. } => archive.path.clone(),
        }
    }

    /// What it lies in among others that are best read in their order: a shard, or a row group of a
    /// table.
    pub(super) fn shard(&self) -> Option<(&Path, usize)> {
        match self {
            Self::Shard(member) => Some((member.shard(), 0)),
            #[cfg(feature = "tables")]
            Self::Row(picture) => Some((picture.file(), picture.group())),
            Self::File(_) | Self::Member { .. } => None,
        }
    }

    /// Decodes it.
    ///
    /// # Errors
    ///
    /// As [`decode_file`], naming the file.
    pub fn open(&self, options: &DecodeOptions) -> Result<RgbImage, DatasetError> {
        match self {
            Self::File(path) if path.is_dir() => {
                let reason =
                    "it is a folder, as videos are of frames, and the model sees single pictures";
                Err(DatasetError::format(path, reason))
            }
            Self::File(path) => Ok(decode_file(path, options)?),
            Self::Shard(member) => {
                self.decoded(&member.read(options.limits.max_file_bytes)?, options)
            }
            #[cfg(feature = "tables")]
            Self::Row(picture) => {
                self.decoded(&picture.read(options.limits.max_file_bytes)?, options)
            }
            Self::Member { archive, name } => {
                let bytes = archive.read(name, options.limits.max_file_bytes)?;
                self.decoded(&bytes, options)
            }
        }
    }

    /// Decodes `frames` of a video's frames, evenly chosen: of a folder of pictures, or of an animated GIF,
    /// PNG or WebP in a file of its own.
    ///
    /// # Errors
    ///
    /// As [`Video::open`], and for a video that is in an archive or a table.
    pub fn open_video(
        &self,
        frames: usize,
        options: &DecodeOptions,
    ) -> Result<Video, DatasetError> {
        let Self::File(path) = self else {
            let reason = "videos are read of files and folders of their own alone";
            return Err(DatasetError::format(&self.path(), reason));
        };
        let options = VideoOptions::default().with_decode(*options);
        Ok(Video::open(path, frames, &options)?)
    }

    fn decoded(&self, bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DatasetError> {
        decode_bytes(bytes, options)
            .map_err(|error| DatasetError::Image(error.in_file(&self.path())))
    }
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, DatasetError> {
        let file = open_regular(path)
            .map_err(|source| DatasetError::unread(path.to_path_buf(), source))?;
        let zip = ZipArchive::new(file).map_err(|error| DatasetError::format(path, error))?;
        Ok(Self {
            path: path.to_path_buf(),
            zip: Arc::new(Mutex::new(zip)),
        })
    }

    /// The names of its members, as far as they are texts.
    pub(super) fn names(&self) -> Vec<String> {
        let zip = self.lock();
        zip.file_names()
            .filter_map(Result::ok)
            .map(Into::into)
            .collect()
    }

    /// A member's bytes, of which there may be `limit`.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, DatasetError> {
        let mut zip = self.lock();
        let mut member = zip
            .by_name(name)
            .map_err(|error| DatasetError::format(&self.path.join(name), error))?;
        let mut bytes = Vec::new();
        let read = member
            .by_ref()
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes);
        read.map_err(|source| DatasetError::unread(self.path.join(name), source))?;
        if bytes.len() as u64 > limit {
            let reason = format!("it unpacks to more than {limit} bytes");
            return Err(DatasetError::format(&self.path.join(name), reason));
        }
        Ok(bytes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ZipArchive<File>> {
        // A reader that panicked leaves the directory of the archive as it was.
        self.zip
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
