//! What may be asked about: any image of the `image` crate.

use blip2_io::image::{ImageProcessor, PixelValues, Transparency, to_rgb};
use burn::tensor::{Device, Tensor};
use image::{DynamicImage, RgbImage};

use crate::Blip2Error;

/// A borrowed picture: an [`image::DynamicImage`] of any colour type, or an [`image::RgbImage`].
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
}

impl Picture<'_> {
    /// The number of pixels.
    pub(super) fn pixels(&self) -> usize {
        let (width, height) = match self {
            Self::Dynamic(image) => (image.width(), image.height()),
            Self::Rgb(image) => image.dimensions(),
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

/// What the image encoder reads of pictures, `[batch, 3, height, width]`.
pub(crate) fn pixel_values(
    pictures: &[Picture<'_>],
    processor: &ImageProcessor,
    transparency: Transparency,
    device: &Device,
) -> Result<Tensor<4>, Blip2Error> {
    let processed = pictures.iter().map(|picture| match picture {
        Picture::Dynamic(image) => processor.process(&to_rgb(image, transparency)),
        Picture::Rgb(image) => processor.process(image),
    });
    let batch = processed.collect::<Result<Vec<_>, _>>()?;
    Ok(PixelValues::stack(batch)?.tensor(device))
}
