//! What can be wrong with a picture.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::fault::{Cause, ErrorKind};

/// Why a picture could not be decoded or prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There are no bytes.
    #[error("the picture is empty")]
    Empty,
    /// The bytes are no picture, or of a format that is not known.
    #[error(
        "not a picture of a known format (PNG, JPEG, GIF, WebP, BMP, TIFF, ICO, TGA, QOI or PNM)"
    )]
    UnknownFormat,
    /// The picture is of a format, or in colours, that are known and not read.
    #[error("the picture's format, {format}, is not read; save it as PNG or JPEG")]
    UnsupportedFormat {
        /// Its format.
        format: &'static str,
    },
    /// The bytes are a sound.
    #[error("it is a sound ({format}) and no picture; a model of sound, Granite Speech, hears it")]
    #[non_exhaustive]
    Sound {
        /// Its format.
        format: &'static str,
    },
    /// A pointer of Git LFS, which was to be the picture.
    #[error("it is a pointer of Git LFS and no picture; fetch the picture with `git lfs pull`")]
    GitLfs,
    /// A frame was asked for that the picture does not have.
    #[error(
        "the picture has {}; there is none with the number {wanted}, counted from 0", frames(*.found)
    )]
    NoFrame {
        /// The frame that was asked for.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// The picture is larger than the limits allow.
    #[error(
        "the picture's {what} is {found}, over the limit of {limit}; make it smaller, or raise the limit \
         `{option}` where you decode it yourself and trust it"
    )]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// How large it may be.
        limit: u64,
        /// The option to raise.
        option: &'static str,
    },
    /// The picture moves; [`Animation::FirstFrame`](super::Animation::FirstFrame) takes its first frame.
    #[error("the picture is an animated {format}; save one frame of it as a picture of its own")]
    Animated {
        /// Its format.
        format: &'static str,
    },
    /// The picture is one of several pages; [`Animation::FirstFrame`](super::Animation::FirstFrame) takes the
    /// first.
    #[error("the picture is a TIFF of {found} pages; save one of them as a picture of its own")]
    Pages {
        /// How many there are.
        found: usize,
    },
    /// The picture is cut short, damaged, or uses a feature that the decoder does not know.
    #[error("the picture is truncated, damaged or unsupported: {source}")]
    Decode {
        /// What is at fault, as far as the decoder tells.
        kind: ErrorKind,
        /// What the decoder said.
        source: Cause,
    },
    /// A file could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no usable picture.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ImageError>,
    },
    /// A picture of no width or height.
    #[error("the picture is {width}×{height} pixels; there is nothing to see")]
    Degenerate {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// A preprocessing configuration that makes no sense.
    #[error("preprocessing: {key} = {value}: {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Pictures of different sizes cannot be one batch.
    #[error("the batch mixes pictures of {first:?} and {other:?} pixels (height, width)")]
    MixedSizes {
        /// The first picture's size.
        first: [usize; 2],
        /// The size of one that differs.
        other: [usize; 2],
    },
}

impl ImageError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Empty | Self::Degenerate { .. } => ErrorKind::Malformed,
            Self::Decode { kind, .. } => *kind,
            Self::UnknownFormat
            | Self::UnsupportedFormat { .. }
            | Self::Sound { .. }
            | Self::Animated { .. }
            | Self::Pages { .. } => ErrorKind::Unsupported,
            Self::NoFrame { .. } => ErrorKind::Missing,
            Self::GitLfs => ErrorKind::NotFound,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Read { source, .. } => ErrorKind::of_read(source),
            Self::File { source, .. } => source.kind(),
            Self::Config { .. } => ErrorKind::Invalid,
            Self::MixedSizes { .. } => ErrorKind::Mismatch,
        }
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self::File {
            path: path.to_path_buf(),
            source: Box::new(self),
        }
    }

    pub(crate) fn decode(error: image::ImageError) -> Self {
        let kind = match error {
            image::ImageError::Limits(_) => ErrorKind::Limit,
            image::ImageError::Unsupported(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Malformed,
        };
        Self::Decode {
            kind,
            source: Cause::new(error),
        }
    }

    pub(super) fn damaged(reason: &'static str) -> Self {
        Self::Decode {
            kind: ErrorKind::Malformed,
            source: Cause::new(reason),
        }
    }
}

fn frames(count: usize) -> String {
    match count {
        1 => "one frame".into(),
        _ => format!("{count} frames"),
    }
}
