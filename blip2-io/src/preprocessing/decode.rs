//! Files and bytes to pictures, within limits that are checked before anything is decoded.

use std::{fs, io::Cursor, path::Path};

use image::{
    AnimationDecoder, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage,
    codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder},
};

use super::{ImageError, Transparency, to_rgb};

/// How large a picture may be. All are checked against the header, before any pixel is decoded, so
/// that a small file cannot claim a large part of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// The most bytes of a file. Default 256 MiB.
    pub max_file_bytes: u64,
    /// The most pixels in a row. Default 65,535, which is JPEG's own limit.
    pub max_width: u32,
    /// The most rows. Default 65,535.
    pub max_height: u32,
    /// The most pixels. Default 179 million, Pillow's threshold for refusing a picture.
    pub max_pixels: u64,
    /// The most bytes that decoding may allocate. Default 2 GiB.
    pub max_alloc: u64,
}

setters! { ImageLimits {
    with_max_file_bytes(max_file_bytes: u64),
    with_max_width(max_width: u32),
    with_max_height(max_height: u32),
    with_max_pixels(max_pixels: u64),
    with_max_alloc(max_alloc: u64),
} }

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_file_bytes: 256 << 20,
            max_width: 65_535,
            max_height: 65_535,
            max_pixels: 178_956_970,
            max_alloc: 2 << 30,
        }
    }
}

impl ImageLimits {
    pub(crate) fn check_dimensions(&self, width: u32, height: u32) -> Result<(), ImageError> {
        let pixels = u64::from(width) * u64::from(height);
        let (width, height) = (u64::from(width), u64::from(height));
        let limits = [
            ("width", width, u64::from(self.max_width), "max_width"),
            ("height", height, u64::from(self.max_height), "max_height"),
            ("number of pixels", pixels, self.max_pixels, "max_pixels"),
        ];
        for (what, found, limit, option) in limits {
            if found > limit {
                return Err(ImageError::Limit {
                    what,
                    found,
                    limit,
                    option,
                });
            }
        }
        Ok(())
    }
}

/// What to do with a picture that moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Animation {
    /// Refuse it: which frame is meant is not ours to guess.
    #[default]
    Refuse,
    /// Take the first frame, as Pillow does.
    FirstFrame,
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
}

setters! { DecodeOptions {
    with_limits(limits: ImageLimits),
    with_transparency(transparency: Transparency),
    with_animation(animation: Animation),
} }

/// Decodes the picture in a file.
///
/// # Errors
///
/// As [`decode_bytes`], naming the file.
///
/// ```
/// use blip2_io::{
///     image::RgbImage,
///     preprocessing::{DecodeOptions, decode_file},
/// };
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("beach.png");
/// # RgbImage::new(40, 30).save(&path)?;
///
/// let picture: RgbImage = decode_file(&path, &DecodeOptions::default())?;
/// assert_eq!(picture.dimensions(), (40, 30));
/// let error = decode_file("nowhere.png", &DecodeOptions::default()).unwrap_err();
/// assert!(error.to_string().starts_with("nowhere.png: "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode_file(
    path: impl AsRef<Path>,
    options: &DecodeOptions,
) -> Result<RgbImage, ImageError> {
    let path = path.as_ref();
    let unreadable = |source| ImageError::Read {
        path: path.to_path_buf(),
        source,
    };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    check_file_size(length, options).map_err(|error| error.in_file(path))?;
    let bytes = fs::read(path).map_err(unreadable)?;
    decode_bytes(&bytes, options).map_err(|error| error.in_file(path))
}

/// Decodes a picture; its format is told by its first bytes.
///
/// # Errors
///
/// [`ImageError`], which tells apart what is empty, no picture, over a limit, animated, and
/// truncated or damaged.
pub fn decode_bytes(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    check_file_size(bytes.len() as u64, options)?;
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| ImageError::decode(error.into()))?;
    let format = reader.format().ok_or(ImageError::UnknownFormat)?;
    if !format.reading_enabled() {
        return Err(ImageError::UnknownFormat);
    }
    let mut decoder = reader.into_decoder().map_err(ImageError::decode)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Degenerate { width, height });
    }
    options.limits.check_dimensions(width, height)?;
    if options.animation == Animation::Refuse
        && let Some(format) = animated(bytes, format)
    {
        return Err(ImageError::Animated { format });
    }
    if format == ImageFormat::Jpeg && jpeg_is_cut_short(bytes) {
        return Err(ImageError::damaged(
            "the JPEG ends before its last scan does",
        ));
    }
    let max_alloc = options.limits.max_alloc;
    let needed = decoder.total_bytes();
    if needed > max_alloc {
        return Err(ImageError::Limit {
            what: "decoded size in bytes",
            found: needed,
            limit: max_alloc,
            option: "max_alloc",
        });
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_alloc);
    decoder.set_limits(limits).map_err(ImageError::decode)?;
    let image = DynamicImage::from_decoder(decoder).map_err(ImageError::decode)?;
    Ok(to_rgb(&image, options.transparency))
}

fn check_file_size(found: u64, options: &DecodeOptions) -> Result<(), ImageError> {
    let limit = options.limits.max_file_bytes;
    if found > limit {
        let (what, option) = ("size in bytes", "max_file_bytes");
        return Err(ImageError::Limit {
            what,
            found,
            limit,
            option,
        });
    }
    Ok(())
}

/// The format's name if the picture has more than one frame. A file that cannot be read this far
/// is left to the decoder to refuse.
fn animated(bytes: &[u8], format: ImageFormat) -> Option<&'static str> {
    let cursor = Cursor::new(bytes);
    match format {
        ImageFormat::Gif => {
            let frames = GifDecoder::new(cursor).ok()?.into_frames();
            (frames.take(2).filter(Result::is_ok).count() > 1).then_some("GIF")
        }
        ImageFormat::Png => PngDecoder::new(cursor)
            .ok()?
            .is_apng()
            .ok()?
            .then_some("PNG"),
        ImageFormat::WebP => WebPDecoder::new(cursor)
            .ok()?
            .has_animation()
            .then_some("WebP"),
        _ => None,
    }
}

/// Whether the end marker after the last scan is missing. The decoder fills what is missing with
/// gray and says nothing; a model would answer about the gray.
fn jpeg_is_cut_short(bytes: &[u8]) -> bool {
    const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    match (last(START_OF_SCAN), last(END_OF_IMAGE)) {
        (Some(scan), Some(end)) => end < scan,
        _ => true,
    }
}
