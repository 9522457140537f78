//! What can go wrong.

use blip2_io::{ErrorKind, config::ConfigError};

/// Why the vision tower refused its configuration or input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisionError {
    /// A configuration whose numbers make no sense together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Pixel values of another size than the tower was made for.
    #[error(
        "pixel values are {height}×{width} (height × width) but the model expects {expected}×\
         {expected}; resize the picture, or set interpolate_pos_encoding"
    )]
    ImageSize {
        /// Their height.
        height: usize,
        /// Their width.
        width: usize,
        /// The configured size.
        expected: usize,
    },
    /// Pixel values that do not make one patch.
    #[error(
        "pixel values are {height}×{width} (height × width), less than one patch of {patch_size}×\
         {patch_size}; resize the picture"
    )]
    TooSmall {
        /// Their height.
        height: usize,
        /// Their width.
        width: usize,
        /// The height and width of a patch.
        patch_size: usize,
    },
    /// Pixel values that no picture has.
    #[error(
        "pixel values of shape {shape:?} are no pictures of shape [batch, 3, height, width]: \
         {reason}"
    )]
    PixelValues {
        /// Their shape.
        shape: [usize; 4],
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl VisionError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(error) => error.kind(),
            Self::ImageSize { .. } => ErrorKind::Mismatch,
            Self::TooSmall { .. } | Self::PixelValues { .. } => ErrorKind::Invalid,
        }
    }
}
