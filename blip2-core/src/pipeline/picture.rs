//! What may be asked about: any image of the `image` crate.

use image::{DynamicImage, RgbImage};

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
