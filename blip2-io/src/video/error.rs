//! What can be wrong with a video.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{fault::ErrorKind, preprocessing::ImageError};

/// Why a video could not be opened or sampled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// There are no frames.
    #[error("the video has no frames")]
    Empty,
    /// A folder without pictures.
    #[error(
        "the folder holds no picture (PNG, JPEG, GIF, WebP, BMP, TIFF, ICO, TGA, QOI or PNM); give a folder of \
         frames"
    )]
    NoPictures,
    /// Fewer frames than are wanted.
    #[error("the video has {found} frames where {wanted} are wanted; give a longer one")]
    TooFew {
        /// Its frames.
        found: usize,
        /// The frames that were to be chosen.
        wanted: usize,
    },
    /// A file that is no animation.
    #[error(
        "not an animated GIF, PNG or WebP; make a folder of frames of other videos: `ffmpeg -i \
         VIDEO frames/%05d.png`"
    )]
    UnknownFormat,
    /// The video is larger than the limits allow.
    #[error(
        "the video has more than {limit} {what}; give a shorter or smaller one, or raise the limit \
         `{option}` where you open it yourself and trust it"
    )]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
        /// The option to raise.
        option: &'static str,
    },
    /// A frame cannot be decoded, or is over a limit.
    #[error(transparent)]
    Frame(#[from] ImageError),
    /// The file or folder could not be read.
    #[error("{0}")]
    Read(#[source] io::Error),
    /// A file or folder holds no usable video.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<VideoError>,
    },
}

impl VideoError {
    /// Whether what was opened is no video, but may be a picture.
    pub fn is_still(&self) -> bool {
        match self {
            Self::File { source, .. } => source.is_still(),
            other => matches!(other, Self::UnknownFormat),
        }
    }

    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Empty | Self::NoPictures | Self::TooFew { .. } => ErrorKind::Missing,
            Self::UnknownFormat => ErrorKind::Unsupported,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Frame(error) => error.kind(),
            Self::Read(error) => ErrorKind::of_read(error),
            Self::File { source, .. } => source.kind(),
        }
    }

    pub(super) fn in_file(self, path: &Path) -> Self {
        Self::File {
            path: path.to_path_buf(),
            source: Box::new(self),
        }
    }
}
