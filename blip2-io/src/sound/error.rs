//! What can be wrong with a sound.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::fault::{Cause, ErrorKind};

/// Why a sound could not be read or prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoundError {
    /// There are no bytes, or a WAV without samples.
    #[error("the sound is empty; give a WAV with at least a few hundredths of a second")]
    Empty,
    /// The bytes are no sound, or of a format that is not known.
    #[error(
        "not a WAV, nor another known format of sound; convert it, as by \
         `ffmpeg -i sound -ac 1 -ar 16000 -c:a pcm_s16le sound.wav`"
    )]
    UnknownFormat,
    /// The sound is of a format that is known and not read.
    #[error(
        "the sound's format, {format}, is not read; convert it to WAV, as by \
         `ffmpeg -i sound -ac 1 -ar 16000 -c:a pcm_s16le sound.wav`"
    )]
    UnsupportedFormat {
        /// Its format.
        format: String,
    },
    /// A pointer of Git LFS, which was to be the sound.
    #[error("it is a pointer of Git LFS and no sound; fetch the sound with `git lfs pull`")]
    GitLfs,
    /// The sound is larger than the limits allow.
    #[error(
        "the sound's {what} is {found}, over the limit of {limit}; {}, or raise the limit `{option}` where \
         you read it yourself and trust it", smaller(.option)
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
    /// The WAV states samples, of which not one is there. One that has some of them is read as far as it
    /// goes.
    #[error(
        "the WAV is cut short: it states {stated} bytes of samples and has {found}; copy it again"
    )]
    Truncated {
        /// What the header states.
        stated: u64,
        /// What is there.
        found: u64,
    },
    /// The WAV is damaged.
    #[error("the WAV is damaged: {source}")]
    Decode {
        /// What is wrong.
        source: Cause,
    },
    /// A sample that is no number, or none of a sound.
    #[error("sample {place} of the sound is {value}{}", no_sample(*.value))]
    Sample {
        /// Its place, counted from 0.
        place: usize,
        /// Its value.
        value: f32,
    },
    /// A rate that no sound has.
    #[error(
        "the rate is {rate} Hz; it must be from 1 to {}",
        super::rate::MAX_RATE
    )]
    Rate {
        /// The rate in Hz.
        rate: u32,
    },
    /// A sound at another rate than the model's.
    #[error(
        "the sound has {found} samples a second and the model reads {wanted}; convert it with \
         `Waveform::resampled({wanted})`"
    )]
    WrongRate {
        /// The sound's rate in Hz.
        found: u32,
        /// The model's.
        wanted: u32,
    },
    /// A sound that does not fill its first two frames of features.
    #[error(
        "the sound is too short: it has {found} samples, and its features need {needed} or more; add \
         silence, or leave it out"
    )]
    TooShort {
        /// How many samples it has.
        found: usize,
        /// How many it needs.
        needed: usize,
    },
    /// Features that would fill too much memory.
    #[error(
        "the features of {sounds} sounds of {frames} mel frames would have more than {limit} numbers; \
         give fewer at once, or cut the longest into parts"
    )]
    TooManyFeatures {
        /// How many sounds there are.
        sounds: usize,
        /// The mel frames of the longest.
        frames: usize,
        /// How many numbers there may be.
        limit: usize,
    },
    /// A batch without a sound.
    #[error("the batch has no sound; give at least one")]
    NoSound,
    /// A configuration that makes no sense.
    #[error("sound: {key} = {value}: {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no usable sound, or a configuration that makes no sense.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<SoundError>,
    },
}

impl SoundError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Empty | Self::Truncated { .. } | Self::Decode { .. } => ErrorKind::Malformed,
            Self::UnknownFormat | Self::UnsupportedFormat { .. } => ErrorKind::Unsupported,
            Self::GitLfs => ErrorKind::NotFound,
            Self::Limit { .. } | Self::TooManyFeatures { .. } => ErrorKind::Limit,
            Self::Sample { .. }
            | Self::Rate { .. }
            | Self::TooShort { .. }
            | Self::NoSound
            | Self::Config { .. } => ErrorKind::Invalid,
            Self::WrongRate { .. } => ErrorKind::Mismatch,
            Self::Read { source, .. } => ErrorKind::of_read(source),
            Self::File { source, .. } => source.kind(),
        }
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self::File {
            path: path.to_path_buf(),
            source: Box::new(self),
        }
    }

    pub(super) fn damaged(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Decode {
            source: Cause::new(reason),
        }
    }

    pub(super) fn unsupported(format: impl Into<String>) -> Self {
        Self::UnsupportedFormat {
            format: format.into(),
        }
    }
}

/// How a sound comes within a limit.
fn smaller(option: &str) -> &'static str {
    match option {
        "max_channels" => "mix them down, as by `ffmpeg -i sound.wav -ac 1 mono.wav`",
        _ => "cut it into parts",
    }
}

/// What is wrong with a value that is no sample.
fn no_sample(value: f32) -> &'static str {
    match value.is_finite() {
        true => {
            ", where samples are numbers in [-1, 1]; integers of 16 bits are to be divided by 32768"
        }
        false => {
            ", which is no sample; what wrote the sound has computed a wrong number: make it anew from \
             its source"
        }
    }
}
