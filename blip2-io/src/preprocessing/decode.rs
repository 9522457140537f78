//! Files and bytes to pictures, within limits that are checked before anything is decoded.

use std::{fs, io::Cursor, path::Path};

use image::{DynamicImage, Frames, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

#[cfg(feature = "jpeg2000")]
use super::jpeg2000;
use super::{
    animation,
    color::to_rgb,
    covered,
    error::ImageError,
    format::format_of,
    ico, jpeg,
    options::{Animation, DecodeOptions, Orientation},
    orientation::orientation,
    pnm,
    tiff::{self, Pages},
};
use crate::{fault::ErrorKind, regular};

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
    let bytes = read_file(path, options)?;
    decode_bytes(&bytes, options).map_err(|error| error.in_file(path))
}

/// Decodes all frames of the picture in a file: those of an animated GIF, PNG or WebP as they are shown,
/// the pages of a TIFF, or the one that any other has. The limit of pixels is for all together.
///
/// # Errors
///
/// As [`decode_bytes`], naming the file.
///
/// ```
/// use blip2_io::{
///     image::RgbImage,
///     preprocessing::{DecodeOptions, decode_frames},
/// };
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("beach.png");
/// # RgbImage::new(40, 30).save(&path)?;
///
/// let frames = decode_frames(&path, &DecodeOptions::default())?; // "beach.png"
/// assert_eq!(frames.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode_frames(
    path: impl AsRef<Path>,
    options: &DecodeOptions,
) -> Result<Vec<RgbImage>, ImageError> {
    let path = path.as_ref();
    let bytes = read_file(path, options)?;
    decode_frames_bytes(&bytes, options).map_err(|error| error.in_file(path))
}

/// As [`decode_frames`], of a file's bytes.
///
/// # Errors
///
/// As [`decode_bytes`].
pub fn decode_frames_bytes(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<Vec<RgbImage>, ImageError> {
    #[cfg(feature = "jpeg2000")]
    if jpeg2000::begins(bytes) {
        return Ok(vec![decode_bytes(bytes, options)?]);
    }
    let format = format_of(bytes)?;
    if format == ImageFormat::Tiff {
        check_file_size(bytes.len() as u64, options)?;
        return all_pages(bytes, options);
    }
    let Some(frames) = animation::frames(bytes, format, &options.limits)? else {
        return Ok(vec![decode_bytes(bytes, options)?]);
    };
    let mut pixels = 0;
    let mut shown = Vec::new();
    for frame in frames {
        let frame = frame.map_err(ImageError::decode)?.into_buffer();
        pixels += u64::from(frame.width()) * u64::from(frame.height());
        check_all_pixels(pixels, options)?;
        shown.push(to_rgb(
            &DynamicImage::ImageRgba8(frame),
            options.transparency,
        ));
    }
    match shown.is_empty() {
        true => Err(ImageError::Empty),
        false => Ok(shown),
    }
}

/// Refuses frames that have too many pixels together.
fn check_all_pixels(pixels: u64, options: &DecodeOptions) -> Result<(), ImageError> {
    match pixels > options.limits.max_pixels {
        false => Ok(()),
        true => Err(ImageError::Limit {
            what: "number of pixels in all frames",
            found: pixels,
            limit: options.limits.max_pixels,
            option: "max_pixels",
        }),
    }
}

/// A file's bytes, within the limit.
pub(crate) fn read_file(path: &Path, options: &DecodeOptions) -> Result<Vec<u8>, ImageError> {
    let unreadable = |source| ImageError::Read {
        path: path.to_path_buf(),
        source,
    };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    check_file_size(length, options).map_err(|error| error.in_file(path))?;
    regular::read(path, options.limits.max_file_bytes).map_err(unreadable)
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
    // The `image` crate does not know it.
    #[cfg(feature = "jpeg2000")]
    if jpeg2000::begins(bytes) {
        options.animation.check_still()?;
        return jpeg2000::decode(bytes, options);
    }
    let format = format_of(bytes)?;
    let limits = &options.limits;
    let bytes = match format {
        // What stands behind its end is none of it.
        ImageFormat::Jpeg => jpeg::whole(bytes)
            .ok_or_else(|| ImageError::damaged("the JPEG ends before its last scan does"))?,
        ImageFormat::Ico => match ico::largest_png(bytes) {
            Some(png) => {
                options.animation.check_still()?;
                return still(png, ImageFormat::Png, options);
            }
            None => bytes,
        },
        ImageFormat::Tiff => return page(bytes, options),
        _ => bytes,
    };
    if options.animation == Animation::Refuse
        && let Some(format) = animation::moving(bytes, format, limits)
    {
        return Err(ImageError::Animated { format });
    }
    if let Animation::Frame(wanted) = options.animation
        && let Some(frames) = animation::frames(bytes, format, limits)?
    {
        return nth(frames, wanted, options);
    }
    options.animation.check_still()?;
    let own = match format {
        ImageFormat::Pnm => pnm::decode(bytes, options),
        _ => None,
    };
    own.unwrap_or_else(|| still(bytes, format, options))
}

/// The page of a TIFF that is wanted. Of several none is meant by itself, as of frames.
fn page(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, ImageError> {
    let pages = Pages::of(bytes).filter(|pages| pages.count() > 1);
    let Some(pages) = pages else {
        options.animation.check_still()?;
        return first_page(bytes, options);
    };
    match options.animation {
        Animation::Refuse => Err(ImageError::Pages {
            found: pages.count(),
        }),
        Animation::FirstFrame | Animation::Frame(0) => first_page(bytes, options),
        Animation::Frame(wanted) => {
            let mut own = bytes.to_vec();
            let found = pages.count();
            let there = pages.lead(&mut own, wanted);
            there.ok_or(ImageError::NoFrame { wanted, found })?;
            first_page(&own, options)
        }
    }
}

/// All pages of a TIFF, within the limit of pixels for all together.
fn all_pages(bytes: &[u8], options: &DecodeOptions) -> Result<Vec<RgbImage>, ImageError> {
    let pages = Pages::of(bytes).filter(|pages| pages.count() > 1);
    let Some(pages) = pages else {
        return Ok(vec![first_page(bytes, options)?]);
    };
    let (mut pixels, mut shown) = (0, Vec::new());
    let mut own = bytes.to_vec();
    for number in 0..pages.count() {
        if pages.lead(&mut own, number).is_none() {
            break;
        }
        let page = first_page(&own, options)?;
        pixels += u64::from(page.width()) * u64::from(page.height());
        check_all_pixels(pixels, options)?;
        shown.push(page);
    }
    Ok(shown)
}

fn first_page(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, ImageError> {
    tiff::check(bytes)?;
    let own = tiff::decode(bytes, options);
    let decoded = own.unwrap_or_else(|| still(bytes, ImageFormat::Tiff, options));
    decoded.map_err(|error| match tiff_colours(bytes, &error) {
        Some(format) => ImageError::UnsupportedFormat { format },
        None => error,
    })
}

/// A picture that does not move, or the first frame of one that does.
fn still(
    bytes: &[u8],
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<RgbImage, ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(animation::metadata_limits());
    let mut decoder = reader.into_decoder().map_err(ImageError::decode)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Degenerate { width, height });
    }
    options.limits.check_size(width, height, bytes.len())?;
    let needed = decoder.total_bytes();
    options.limits.check_alloc(needed)?;
    if format == ImageFormat::Ico {
        ico::check_size(width, height)?;
    }
    covered::check(bytes, format, (width, height), needed)?;
    let mut allowed = Limits::no_limits();
    allowed.max_alloc = Some(options.limits.budget(needed));
    decoder.set_limits(allowed).map_err(ImageError::decode)?;
    let turned = match options.orientation {
        Orientation::Apply => orientation(&mut decoder),
        Orientation::Ignore => image::metadata::Orientation::NoTransforms,
    };
    let image = DynamicImage::from_decoder(decoder).map_err(ImageError::decode)?;
    let rgb = match image {
        // As large as it is, it is not copied.
        DynamicImage::ImageRgb8(rgb) => rgb,
        other => to_rgb(&other, options.transparency),
    };
    let mut rgb = DynamicImage::ImageRgb8(rgb);
    rgb.apply_orientation(turned);
    Ok(rgb.into_rgb8())
}

/// One frame of those of an animation.
fn nth(frames: Frames<'_>, wanted: usize, options: &DecodeOptions) -> Result<RgbImage, ImageError> {
    let mut found = 0;
    for frame in frames {
        let frame = frame.map_err(ImageError::decode)?;
        if found == wanted {
            let frame = DynamicImage::ImageRgba8(frame.into_buffer());
            return Ok(to_rgb(&frame, options.transparency));
        }
        found += 1;
    }
    Err(ImageError::NoFrame { wanted, found })
}

/// What colours a TIFF has that was not read for them.
fn tiff_colours(bytes: &[u8], error: &ImageError) -> Option<&'static str> {
    (error.kind() == ErrorKind::Unsupported).then(|| tiff::colours(bytes))?
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
