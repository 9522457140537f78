//! What may be asked about: any image of the `image` crate, or a video.

use blip2_io::{
    preprocessing::{ImageProcessor, PixelValues, Transparency, to_rgb},
    video::Video,
};
use burn::tensor::{Device, Tensor};
use image::{DynamicImage, RgbImage};

use crate::Blip2Error;

/// A borrowed picture: an [`image::DynamicImage`] of any colour type, or an [`image::RgbImage`]; or,
/// for models that look at videos, a [`Video`] of as many frames as the model looks at.
///
/// Every method that takes a picture takes `impl Into<Picture>`, so `&image` is enough.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Picture<'a> {
    /// A decoded image of any colour type; transparency is laid over white, as the reference does,
    /// unless the pipeline was built to drop it.
    Dynamic(&'a DynamicImage),
    /// An image that is RGB already.
    Rgb(&'a RgbImage),
    /// The frames of a video.
    Video(&'a Video),
}

impl Picture<'_> {
    /// The number of pixels, of a video's largest frame.
    pub(super) fn pixels(&self) -> usize {
        let (width, height) = match self {
            Self::Dynamic(image) => (image.width(), image.height()),
            Self::Rgb(image) => image.dimensions(),
            Self::Video(video) => {
                let frames = video.frames().iter().map(|frame| frame.dimensions());
                frames
                    .max_by_key(|(w, h)| u64::from(*w) * u64::from(*h))
                    .unwrap_or((0, 0))
            }
        };
        width as usize * height as usize
    }
}

impl<'a> From<&'a DynamicImage> for Picture<'a> {
    fn from(image: &'a DynamicImage) -> Self {
        Self::Dynamic(image)
    }
}

impl<'a> From<&'a RgbImage> for Picture<'a> {
    fn from(image: &'a RgbImage) -> Self {
        Self::Rgb(image)
    }
}

impl<'a> From<&'a Video> for Picture<'a> {
    fn from(video: &'a Video) -> Self {
        Self::Video(video)
    }
}

/// What the image encoder reads of pictures, or of videos of `num_frames` frames:
/// `[batch · frames, 3, height, width]`.
pub(crate) fn pixel_values(
    pictures: &[Picture<'_>],
    num_frames: usize,
    processor: &ImageProcessor,
    transparency: Transparency,
    device: &Device,
) -> Result<Tensor<4>, Blip2Error> {
    let mut batch = Vec::new();
    for picture in pictures {
        let found = match picture {
            Picture::Video(video) => Some(video.len()),
            _ => None,
        };
        // A video of one frame is no picture: the caller meant another model.
        if found != (num_frames > 1).then_some(num_frames) {
            let expected = num_frames;
            return Err(Blip2Error::Frames { found, expected });
        }
        match picture {
            Picture::Dynamic(image) => {
                batch.push(processor.process(&to_rgb(image, transparency))?);
            }
            Picture::Rgb(image) => batch.push(processor.process(image)?),
            Picture::Video(video) => {
                for frame in video.frames() {
                    batch.push(processor.process(frame)?);
                }
            }
        }
    }
    Ok(PixelValues::stack(batch)?.tensor(device))
}
