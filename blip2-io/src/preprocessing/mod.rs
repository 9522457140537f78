//! Pictures: decoding within limits, conversion to RGB, and the preprocessing of `transformers`,
//! equal to Pillow's bits.
//!
//! ```
//! use blip2_io::preprocessing::{DecodeOptions, ImageProcessor, ImageProcessorConfig, decode_bytes};
//! # use blip2_io::image::{ImageFormat, RgbImage};
//! # let mut png = std::io::Cursor::new(Vec::new());
//! # RgbImage::new(40, 30).write_to(&mut png, ImageFormat::Png)?;
//! # let bytes = png.into_inner();
//! let picture = decode_bytes(&bytes, &DecodeOptions::default())?;
//! let processor = ImageProcessor::new(ImageProcessorConfig::default())?;
//! let pixel_values = processor.process(&picture)?; // [1, 3, 224, 224]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is done to a picture: decoded, turned as the orientation in its EXIF says (as `load_image` of
//! `transformers` does; pixels that are given are never turned), laid over white where it is
//! transparent, resized to exactly the configured height and width (where a folder's processor keeps
//! the aspect and cuts, so does this), rescaled and normalised.
//!
//! PNG and the other lossless formats decode to the very numbers that Pillow gives. JPEG decoders
//! differ by a few levels in a few pixels: see `docs/numerics.md` for how much.

pub(crate) mod animation;
mod apple_double;
mod bmp;
mod color;
mod covered;
mod crop;
mod decode;
mod error;
mod format;
mod ico;
mod jpeg;
#[cfg(feature = "jpeg2000")]
mod jpeg2000;
mod limits;
mod options;
mod orientation;
mod pnm;
mod processor;
mod resample;
mod resize;
mod sizing;
mod tiff;

pub use apple_double::is_apple_double;
pub use color::{Transparency, to_rgb};
pub(crate) use decode::read_file;
pub use decode::{decode_bytes, decode_file, decode_frames, decode_frames_bytes};
pub use error::ImageError;
pub use limits::ImageLimits;
pub use options::{Animation, DecodeOptions, Orientation};
pub use processor::{ImageProcessor, ImageProcessorConfig, PixelValues};
pub use resample::Resample;
pub use resize::{Resizing, UnknownResizing, resize};
pub use sizing::{Size, Sizing};
