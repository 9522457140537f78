//! The image processor: a picture to the numbers that the vision tower reads.

#[cfg(feature = "checkpoint")]
use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ImageError, Resample, resize};

/// The size that pictures are resized to, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    /// The height.
    pub height: u32,
    /// The width.
    pub width: u32,
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// `{"height", "width"}`, or one number for both.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Both { height: u32, width: u32 },
            One(u32),
        }
        let raw = Raw::deserialize(deserializer).map_err(|_| {
            serde::de::Error::custom(
                "size must be a number or {\"height\", \"width\"}: BLIP-2 resizes to an exact size",
            )
        })?;
        Ok(match raw {
            Raw::Both { height, width } => Self { height, width },
            Raw::One(side) => Self {
                height: side,
                width: side,
            },
        })
    }
}

/// `BlipImageProcessor`'s configuration, from `preprocessor_config.json`.
///
/// ```
/// use blip2_io::preprocessing::{ImageProcessorConfig, Resample};
///
/// let file = r#"{ "size": { "height": 364, "width": 364 }, "resample": 2, "crop_size": 9 }"#;
/// let config: ImageProcessorConfig = serde_json::from_str(file)?;
/// assert_eq!((config.size.width, config.resample), (364, Resample::Bilinear));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ImageProcessorConfig {
    /// Whether pictures are resized. Default true.
    pub do_resize: bool,
    /// The size they are resized to. Default 224×224 (the code's own default is 384; the published
    /// BLIP-2 checkpoints say 224).
    pub size: Size,
    /// The resampling filter. Default bicubic.
    pub resample: Resample,
    /// Whether values are multiplied by `rescale_factor`. Default true.
    pub do_rescale: bool,
    /// What values are multiplied by. Default 1/255.
    pub rescale_factor: f64,
    /// Whether values are normalised by mean and deviation. Default true.
    pub do_normalize: bool,
    /// The mean of each channel. Default: CLIP's.
    pub image_mean: [f64; 3],
    /// The standard deviation of each channel. Default: CLIP's.
    pub image_std: [f64; 3],
}

setters! { ImageProcessorConfig {
    with_do_resize(do_resize: bool),
    with_size(size: Size),
    with_resample(resample: Resample),
    with_do_rescale(do_rescale: bool),
    with_rescale_factor(rescale_factor: f64),
    with_do_normalize(do_normalize: bool),
    with_image_mean(image_mean: [f64; 3]),
    with_image_std(image_std: [f64; 3]),
} }

impl Default for ImageProcessorConfig {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Size {
                height: 224,
                width: 224,
            },
            resample: Resample::Bicubic,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.48145466, 0.4578275, 0.40821073],
            image_std: [0.26862954, 0.26130258, 0.27577711],
        }
    }
}

impl ImageProcessorConfig {
    /// Checks that the numbers make sense.
    ///
    /// # Errors
    ///
    /// [`ImageError::Config`] naming the key.
    pub fn validate(&self) -> Result<(), ImageError> {
        let fault = |key, value: String, reason| Err(ImageError::Config { key, value, reason });
        let Size { height, width } = self.size;
        if self.do_resize && (height == 0 || width == 0) {
            return fault("size", format!("{height}×{width}"), "must be above zero");
        }
        if !self.rescale_factor.is_finite() {
            return fault(
                "rescale_factor",
                self.rescale_factor.to_string(),
                "must be finite",
            );
        }
        if let Some(std) = self
            .image_std
            .iter()
            .find(|std| !std.is_finite() || **std == 0.0)
        {
            return fault("image_std", std.to_string(), "must be finite and not zero");
        }
        if let Some(mean) = self.image_mean.iter().find(|mean| !mean.is_finite()) {
            return fault("image_mean", mean.to_string(), "must be finite");
        }
        Ok(())
    }
}

/// Prepares pictures: resizes, rescales, normalises.
///
/// ```
/// use blip2_io::{
///     image::{Rgb, RgbImage},
///     preprocessing::{ImageProcessor, ImageProcessorConfig, Size},
/// };
///
/// let size = Size { height: 32, width: 48 };
/// let processor = ImageProcessor::new(ImageProcessorConfig::default().with_size(size))?;
/// let white = RgbImage::from_pixel(640, 480, Rgb([255; 3]));
/// let pixels = processor.process(&white)?;
/// assert_eq!(pixels.shape(), [1, 3, 32, 48]);
/// // 1 less the channel's mean, by its standard deviation.
/// assert!((pixels.data()[0] - (1.0 - 0.48145466) / 0.26862954).abs() < 1e-6);
/// # Ok::<(), blip2_io::preprocessing::ImageError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    config: ImageProcessorConfig,
    /// What each of the 256 levels becomes, for each channel: rescaling and normalising are a
    /// function of the level alone.
    levels: Box<[[f32; 256]; 3]>,
}

impl ImageProcessor {
    /// A processor of this configuration.
    ///
    /// # Errors
    ///
    /// As [`ImageProcessorConfig::validate`].
    pub fn new(config: ImageProcessorConfig) -> Result<Self, ImageError> {
        config.validate()?;
        let mut levels = Box::new([[0f32; 256]; 3]);
        for ((table, mean), std) in levels
            .iter_mut()
            .zip(config.image_mean)
            .zip(config.image_std)
        {
            for (level, value) in table.iter_mut().enumerate() {
                // The reference rescales in 64 bits, rounds to 32, and normalises in 32. In any
                // other order the last bits differ, and with them every number of the tower.
                *value = if config.do_rescale {
                    (level as f64 * config.rescale_factor) as f32
                } else {
                    level as f32
                };
                if config.do_normalize {
                    *value = (*value - mean as f32) / std as f32;
                }
            }
        }
        Ok(Self { config, levels })
    }

    /// The configuration.
    pub fn config(&self) -> &ImageProcessorConfig {
        &self.config
    }

    /// Prepares one picture: pixel values of shape `[1, 3, height, width]`.
    ///
    /// # Errors
    ///
    /// [`ImageError::Degenerate`] for a picture without a pixel.
    pub fn process(&self, image: &RgbImage) -> Result<PixelValues, ImageError> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(ImageError::Degenerate { width, height });
        }
        if !self.config.do_resize {
            return Ok(self.values(image));
        }
        let Size { height, width } = self.config.size;
        Ok(self.values(&resize(image, width, height, self.config.resample)))
    }

    fn values(&self, image: &RgbImage) -> PixelValues {
        let (pixels, _) = image.as_raw().as_chunks::<3>();
        let mut data = Vec::with_capacity(3 * pixels.len());
        for (channel, levels) in self.levels.iter().enumerate() {
            data.extend(
                pixels
                    .iter()
                    .map(|pixel| levels[usize::from(pixel[channel])]),
            );
        }
        PixelValues {
            data,
            shape: [1, 3, image.height() as usize, image.width() as usize],
        }
    }
}

/// What a vision tower reads: `[batch, 3, height, width]`, on the host.
///
/// ```
/// use blip2_io::image::RgbImage;
/// use blip2_io::preprocessing::{ImageProcessor, ImageProcessorConfig, PixelValues};
///
/// let processor = ImageProcessor::new(ImageProcessorConfig::default())?;
/// let [wide, high] = [RgbImage::new(64, 32), RgbImage::new(32, 64)];
/// let batch = PixelValues::stack([processor.process(&wide)?, processor.process(&high)?])?;
/// assert_eq!(batch.shape(), [2, 3, 224, 224]);
/// # Ok::<(), blip2_io::preprocessing::ImageError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PixelValues {
    data: Vec<f32>,
    shape: [usize; 4],
}

impl PixelValues {
    /// Makes one batch of several.
    ///
    /// # Errors
    ///
    /// [`ImageError::MixedSizes`] if they differ in height or width, as they do only where
    /// `do_resize` is off; [`ImageError::Empty`] if there is none.
    pub fn stack(parts: impl IntoIterator<Item = Self>) -> Result<Self, ImageError> {
        let mut parts = parts.into_iter();
        let mut all = parts.next().ok_or(ImageError::Empty)?;
        for part in parts {
            let (first, other) = ([all.shape[2], all.shape[3]], [part.shape[2], part.shape[3]]);
            if first != other {
                return Err(ImageError::MixedSizes { first, other });
            }
            all.shape[0] += part.shape[0];
            all.data.extend(part.data);
        }
        Ok(all)
    }

    /// The values, row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// `[batch, 3, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// The values on a device, `[batch, 3, height, width]`.
    #[cfg(feature = "checkpoint")]
    pub fn tensor(self, device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.data, self.shape), device)
    }
}
