//! What may be asked about: any image of the `image` crate, or a video.

use blip2_io::{preprocessing::PixelValues, video::Video};
use image::{DynamicImage, RgbImage};

/// A borrowed picture: an [`image::DynamicImage`] of any colour type, or an [`image::RgbImage`]; or,
/// for models that look at videos, a [`Video`] of as many frames as the model looks at. Or
/// [`PixelValues`], where a picture was prepared before.
///
/// Every method that takes a picture takes `impl Into<Picture>`, so `&image` is enough.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// use blip2_core::image::{DynamicImage, RgbImage};
///
/// let rgb = RgbImage::new(64, 48);
/// blip2.caption(&rgb)?;
/// blip2.caption(&DynamicImage::from(rgb))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// A picture, or the frames of a video, that was prepared before by the model's own
    /// [`processor`](crate::Blip2Pipeline::processor): perhaps by another thread, while the model was
    /// busy with others.
    Prepared(&'a PixelValues),
}

impl Picture<'_> {
    /// The number of pixels, of a video's largest frame.
    pub(crate) fn pixels(&self) -> usize {
        let (width, height) = match self {
            Self::Dynamic(image) => (image.width(), image.height()),
            Self::Rgb(image) => image.dimensions(),
            Self::Video(video) => {
                let frames = video.frames().iter().map(|frame| frame.dimensions());
                frames
                    .max_by_key(|(w, h)| u64::from(*w) * u64::from(*h))
                    .unwrap_or((0, 0))
            }
            Self::Prepared(pixels) => {
                let [_, _, height, width] = pixels.shape();
                return height * width;
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

impl<'a> From<&'a PixelValues> for Picture<'a> {
    fn from(pixels: &'a PixelValues) -> Self {
        Self::Prepared(pixels)
    }
}

impl<'a> From<&'a Video> for Picture<'a> {
    fn from(video: &'a Video) -> Self {
        Self::Video(video)
    }
}
