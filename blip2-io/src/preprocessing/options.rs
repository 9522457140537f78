//! How pictures are decoded.

use super::{color::Transparency, error::ImageError, limits::ImageLimits};

/// What to do with a picture that moves, or has several pages, as a TIFF may: they are its frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Animation {
    /// Refuse it: which frame is meant is not ours to guess.
    #[default]
    Refuse,
    /// Take the first frame, as Pillow does.
    FirstFrame,
    /// Take this frame, counted from 0. A picture that does not move has one, and others are refused.
    Frame(usize),
}

impl Animation {
    /// That a picture which does not move has no other frame than its first.
    pub(super) fn check_still(self) -> Result<(), ImageError> {
        match self {
            Self::Frame(wanted @ 1..) => Err(ImageError::NoFrame { wanted, found: 1 }),
            _ => Ok(()),
        }
    }
}

/// What becomes of the orientation that a camera wrote beside the pixels, in EXIF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Orientation {
    /// The picture is turned or mirrored as it says, as `load_image` of `transformers` does.
    #[default]
    Apply,
    /// The pixels stay as they are stored.
    Ignore,
}

/// How pictures are decoded.
///
/// ```
/// use blip2_io::preprocessing::{Animation, DecodeOptions, ImageLimits, Transparency};
///
/// let options = DecodeOptions::default()
///     .with_limits(ImageLimits::default().with_max_pixels(4_000_000))
///     .with_transparency(Transparency::Drop)
///     .with_animation(Animation::FirstFrame);
/// assert_eq!(options.limits.max_pixels, 4_000_000);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// How large they may be.
    pub limits: ImageLimits,
    /// What becomes of transparency.
    pub transparency: Transparency,
    /// What becomes of animations.
    pub animation: Animation,
    /// What becomes of the orientation in EXIF.
    pub orientation: Orientation,
}

setters! { DecodeOptions {
    with_limits(limits: ImageLimits),
    with_transparency(transparency: Transparency),
    with_animation(animation: Animation),
    with_orientation(orientation: Orientation),
} }
