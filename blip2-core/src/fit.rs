//! What would not fit in memory, and what would.

use std::fmt;

use blip2_kernels::Precision;

/// More memory than is allowed would be needed.
///
/// ```
/// use blip2_core::{Blip2Error, Blip2Pipeline, Preset, memory::Fit};
///
/// let blip2 = Blip2Pipeline::builder_random(Preset::Blip2Opt2_7b, 0);
/// let Err(Blip2Error::Memory(error)) = blip2.memory_limit(6_000_000_000).load() else {
///     panic!("15 GB do not fit");
/// };
/// assert!(matches!(error.fits[0], Fit::Precision(_)), "{error}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotEnoughMemory {
    /// The bytes that the process, or on a GPU what it has there, is predicted to take at its peak.
    pub predicted: u64,
    /// The bytes that it may take.
    pub allowed: u64,
    /// What takes [`predicted`](Self::predicted) alone, where [`allowed`](Self::allowed) is a GPU's
    /// largest buffer: a tensor by its name in backticks, or in words what a call computes.
    pub piece: Option<String>,
    /// Changes of which each alone would make it fit.
    pub fits: Vec<Fit>,
    /// Whether the model reads sound, and not pictures.
    pub reads_sound: bool,
}

/// A change that makes a model or a call fit.
///
/// ```
/// use blip2_core::{Precision, memory::Fit};
///
/// assert_eq!(Fit::Precision(Precision::Int4).to_string(), "int4 weights");
/// assert_eq!(Fit::Batch(8).to_string(), "a batch of 8");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fit {
    /// The weights in this precision, the widest that fits.
    Precision(Precision),
    /// At most this many prompts together.
    Batch(usize),
    /// At most this many beams.
    Beams(usize),
    /// A recording of at most this many frames of the encoder of sound, of which there are 50 a second in
    /// the published models.
    SoundFrames(usize),
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Precision(precision) => write!(f, "{precision} weights"),
            Self::Batch(batch) => write!(f, "a batch of {batch}"),
            Self::Beams(1) => write!(f, "a single beam"),
            Self::Beams(beams) => write!(f, "{beams} beams"),
            Self::SoundFrames(frames) => write!(f, "a recording of {} seconds", frames / 50),
        }
    }
}

impl std::error::Error for NotEnoughMemory {}

impl fmt::Display for NotEnoughMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            predicted,
            allowed,
            piece,
            fits,
            reads_sound,
        } = self;
        let (needed, held) = (gigabytes(*predicted), gigabytes(*allowed));
        let otherwise = match piece {
            Some(piece) => {
                write!(
                    f,
                    "{piece} would take {needed} ({predicted} bytes) in one piece, where the device's \
                     largest buffer has {held} ({allowed} bytes); "
                )?;
                "use another device"
            }
            None => {
                write!(
                    f,
                    "{needed} ({predicted} bytes) of memory would be needed, where {held} ({allowed} \
                     bytes) are allowed; "
                )?;
                "raise `memory_limit`"
            }
        };
        if fits.is_empty() {
            let input = match reads_sound {
                true => "shorter recording",
                false => "picture",
            };
            return write!(
                f,
                "no other precision or batch would fit: use a smaller model or {input}, or \
                 {otherwise}"
            );
        }
        f.write_str("what would fit: ")?;
        for (n, fit) in fits.iter().enumerate() {
            write!(f, "{}{fit}", if n > 0 { ", or " } else { "" })?;
        }
        write!(f, "; or {otherwise}")
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}
