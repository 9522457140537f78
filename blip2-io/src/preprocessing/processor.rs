//! The image processor: a picture to the numbers that the vision tower reads.

use std::borrow::Cow;

#[cfg(feature = "checkpoint")]
use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{
    ImageError, Resample,
    crop::center_crop,
    resize::{Resizing, resize_by},
    sizing::{Size, Sizing, Spelled},
};

/// `BlipImageProcessor`'s configuration, from `preprocessor_config.json`.
///
/// ```
/// use blip2_io::preprocessing::{ImageProcessorConfig, Resample};
///
/// let file = r#"{ "size": { "height": 364, "width": 364 }, "resample": 2, "crop_size": 9 }"#;
/// let config: ImageProcessorConfig = serde_json::from_str(file)?;
/// assert_eq!(config.output_size().map(|size| size.width), Some(364));
/// assert_eq!(config.resample, Resample::Bilinear);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ImageProcessorConfig {
    /// Whether pictures are resized. Default true.
    pub do_resize: bool,
    /// The size they are resized to. Default 224×224 (the code's own default is 384; the published
    /// BLIP-2 checkpoints say 224).
    pub size: Sizing,
    /// The resampling filter. Default bicubic.
    pub resample: Resample,
    /// Whose arithmetic resizes; no file says it. Default Pillow's.
    #[serde(skip)]
    pub resizing: Resizing,
    /// Whether pictures are cut to `crop_size` around their centre after they are resized; what is
    /// smaller gets a black border. Default false.
    pub do_center_crop: bool,
    /// The size they are cut to. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_size: Option<Size>,
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
    /// The class that the file names. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_processor_type: Option<String>,
}

setters! { ImageProcessorConfig {
    with_do_resize(do_resize: bool),
    with_resample(resample: Resample),
    with_resizing(resizing: Resizing),
    with_do_center_crop(do_center_crop: bool),
    with_crop_size(crop_size: Option<Size>),
    with_do_rescale(do_rescale: bool),
    with_rescale_factor(rescale_factor: f64),
    with_do_normalize(do_normalize: bool),
    with_image_mean(image_mean: [f64; 3]),
    with_image_std(image_std: [f64; 3]),
    with_image_processor_type(image_processor_type: Option<String>),
} }

impl<'de> Deserialize<'de> for ImageProcessorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        raw.read().map_err(D::Error::custom)
    }
}

/// The file's form: sizes in several spellings, and a class with defaults of its own.
#[derive(Deserialize)]
struct Raw {
    do_resize: Option<bool>,
    #[serde(default, deserialize_with = "Spelled::read")]
    size: Option<Spelled>,
    default_to_square: Option<bool>,
    resample: Option<Resample>,
    do_center_crop: Option<bool>,
    #[serde(default, deserialize_with = "Spelled::read")]
    crop_size: Option<Spelled>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    image_processor_type: Option<String>,
    feature_extractor_type: Option<String>,
}

/// A number for each channel, or one for all.
#[derive(Deserialize)]
#[serde(untagged, expecting = "should be a number, or three")]
enum Channels {
    One(f64),
    Each([f64; 3]),
}

impl From<Channels> for [f64; 3] {
    fn from(channels: Channels) -> Self {
        match channels {
            Channels::One(number) => [number; 3],
            Channels::Each(numbers) => numbers,
        }
    }
}

impl Raw {
    fn read(self) -> Result<ImageProcessorConfig, String> {
        let default = ImageProcessorConfig::default();
        let class = self.image_processor_type.or(self.feature_extractor_type);
        // CLIP's processor keeps the aspect and cuts, where BLIP's makes a square.
        let is_clip = class
            .as_ref()
            .is_some_and(|class| class.starts_with("CLIP"));
        let keeps_aspect = !self.default_to_square.unwrap_or(!is_clip);
        let size = match self.size {
            Some(size) => size.sizing(keeps_aspect),
            None if is_clip => Spelled::One(224).sizing(true),
            None => default.size,
        };
        let do_center_crop = self.do_center_crop.unwrap_or(is_clip);
        let crop_size = match self.crop_size {
            Some(size) => Some(
                size.size()
                    .map_err(|reason| format!("crop_size {reason}"))?,
            ),
            None if is_clip && do_center_crop => Some(Size {
                height: 224,
                width: 224,
            }),
            None => None,
        };
        Ok(ImageProcessorConfig {
            do_resize: self.do_resize.unwrap_or(default.do_resize),
            size,
            resample: self.resample.unwrap_or(default.resample),
            resizing: default.resizing,
            do_center_crop,
            crop_size,
            do_rescale: self.do_rescale.unwrap_or(default.do_rescale),
            rescale_factor: self.rescale_factor.unwrap_or(default.rescale_factor),
            do_normalize: self.do_normalize.unwrap_or(default.do_normalize),
            image_mean: self.image_mean.map_or(default.image_mean, Into::into),
            image_std: self.image_std.map_or(default.image_std, Into::into),
            image_processor_type: class,
        })
    }
}

impl Default for ImageProcessorConfig {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Sizing::Exact(Size {
                height: 224,
                width: 224,
            }),
            resample: Resample::Bicubic,
            resizing: Resizing::Pillow,
            do_center_crop: false,
            crop_size: None,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.48145466, 0.4578275, 0.40821073],
            image_std: [0.26862954, 0.26130258, 0.27577711],
            image_processor_type: None,
        }
    }
}

impl ImageProcessorConfig {
    /// Sets [`size`](Self::size).
    #[must_use]
    pub fn with_size(mut self, size: impl Into<Sizing>) -> Self {
        self.size = size.into();
        self
    }

    /// The size that every picture has when it is prepared, if it is the same for all.
    pub fn output_size(&self) -> Option<Size> {
        match (
            self.do_center_crop,
            self.crop_size,
            self.do_resize,
            self.size,
        ) {
            (true, Some(size), _, _) | (false, _, true, Sizing::Exact(size)) => Some(size),
            _ => None,
        }
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    ///
    /// [`ImageError::Config`] naming the key.
    pub fn validate(&self) -> Result<(), ImageError> {
        let fault = |key, value: String, reason| Err(ImageError::Config { key, value, reason });
        if self.do_resize {
            self.size.validate()?;
            self.resizing.check(self.resample)?;
        }
        match (self.do_center_crop, self.crop_size) {
            (true, Some(size)) => size.validate("crop_size")?,
            (true, None) => {
                let reason = "do_center_crop needs it";
                return fault("crop_size", "(none)".into(), reason);
            }
            _ => {}
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
    pub fn new(mut config: ImageProcessorConfig) -> Result<Self, ImageError> {
        let class = config.image_processor_type.as_deref();
        config.resizing = config.resizing.of_class(class);
        config.validate()?;
        let mut levels = Box::new([[0f32; 256]; 3]);
        for ((table, mean), std) in levels
            .iter_mut()
            .zip(config.image_mean)
            .zip(config.image_std)
        {
            for (level, value) in table.iter_mut().enumerate() {
                if config.resizing == Resizing::Torchvision
                    && config.do_rescale
                    && config.do_normalize
                {
                    // Torchvision's path scales mean and deviation in place of the picture.
                    let scale = (1.0 / config.rescale_factor) as f32;
                    *value = (level as f32 - mean as f32 * scale) / (std as f32 * scale);
                    continue;
                }
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
    /// [`ImageError::Degenerate`] for a picture without a pixel; [`ImageError::Limit`] for one so
    /// long that it would be enormous when its shorter edge has its size.
    pub fn process(&self, image: &RgbImage) -> Result<PixelValues, ImageError> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(ImageError::Degenerate { width, height });
        }
        let mut image = Cow::Borrowed(image);
        if self.config.do_resize {
            let size = self.config.size.of(Size { height, width })?;
            let ImageProcessorConfig {
                resample, resizing, ..
            } = self.config;
            image = Cow::Owned(resize_by(resizing, &image, size, resample));
        }
        if let (true, Some(size)) = (self.config.do_center_crop, self.config.crop_size) {
            image = Cow::Owned(center_crop(&image, size));
        }
        Ok(self.values(&image))
    }

    /// Which part of a picture of this width and height is seen: left, top, right and bottom, as parts
    /// of its width and height. The whole, unless pictures are cut around their centre; more than the
    /// whole where a border is put around them.
    ///
    /// ```
    /// use blip2_io::preprocessing::{ImageProcessor, ImageProcessorConfig, Size, Sizing};
    ///
    /// let config = ImageProcessorConfig::default()
    ///     .with_size(Sizing::Edge { shortest_edge: 50, longest_edge: None })
    ///     .with_do_center_crop(true)
    ///     .with_crop_size(Some(Size { height: 50, width: 50 }));
    /// let processor = ImageProcessor::new(config)?;
    /// assert_eq!(processor.seen((200, 100))?, [0.25, 0.0, 0.75, 1.0]);
    /// # Ok::<(), blip2_io::preprocessing::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`process`](Self::process).
    pub fn seen(&self, (width, height): (u32, u32)) -> Result<[f32; 4], ImageError> {
        let mut size = Size { height, width };
        if self.config.do_resize {
            size = self.config.size.of(size)?;
        }
        let cut = match (self.config.do_center_crop, self.config.crop_size) {
            (true, Some(cut)) => cut,
            _ => return Ok([0.0, 0.0, 1.0, 1.0]),
        };
        let part = |all: u32, cut: u32| {
            let begin = (i64::from(all) - i64::from(cut)).div_euclid(2) as f32;
            let all = all.max(1) as f32;
            [begin / all, (begin + cut as f32) / all]
        };
        let [left, right] = part(size.width, cut.width);
        let [top, bottom] = part(size.height, cut.height);
        Ok([left, top, right, bottom])
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

    /// No picture at all.
    #[cfg(feature = "dataset")]
    pub(crate) fn none() -> Self {
        let (data, shape) = (Vec::new(), [0, 3, 0, 0]);
        Self { data, shape }
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
