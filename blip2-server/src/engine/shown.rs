//! What requests show the model, decoded.

use blip2_core::{
    Blip2Error, Picture, Video,
    image::RgbImage,
    preprocessing::{DecodeOptions, decode_bytes},
    video::VideoOptions,
};

use crate::{error::ApiError, picture::Upload, words::Names};

/// A picture, or the frames of a video that the model looks at.
pub(super) enum Shown {
    Picture(RgbImage),
    Video(Video),
}

/// The most frames of an animated file, all of which are decoded to count them, and how many pictures of the
/// largest size those may be.
const MOST_FRAMES: usize = 1000;
const PICTURES: u64 = 4;

impl Shown {
    /// Decodes what a model that looks at `frames` frames is shown.
    pub(super) fn decode(
        upload: &Upload,
        frames: usize,
        options: &DecodeOptions,
        names: &Names,
    ) -> Result<Self, ApiError> {
        let decoded = match (frames, upload.files.as_slice()) {
            (1, [file]) => decode_bytes(file, options)
                .map(Self::Picture)
                .map_err(Blip2Error::from),
            (1, _) => return Err(ApiError::internal()),
            (frames, files) => {
                let options = VideoOptions::default()
                    .with_decode(*options)
                    .with_max_frames(MOST_FRAMES)
                    .with_max_total_pixels(options.limits.max_pixels.saturating_mul(PICTURES));
                Video::decode(files, frames, &options)
                    .map(Self::Video)
                    .map_err(Blip2Error::from)
            }
        };
        decoded.map_err(|error| ApiError::told(&error, names))
    }
}

impl<'s> From<&'s Shown> for Picture<'s> {
    fn from(shown: &'s Shown) -> Self {
        match shown {
            Shown::Picture(image) => image.into(),
            Shown::Video(video) => video.into(),
        }
    }
}
