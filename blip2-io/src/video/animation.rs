//! Animated pictures.

use std::{fs, io::Cursor, path::Path};

use image::{
    AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageFormat, Limits, RgbImage,
    codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder},
};

use super::{VideoError, VideoOptions, chosen};
use crate::preprocessing::{ImageError, to_rgb};

/// `count` of the frames of an animated file, evenly chosen.
///
/// The file is decoded twice, first to count its frames, so that no more than the chosen ones are
/// held.
pub(super) fn open(
    path: &Path,
    count: usize,
    options: &VideoOptions,
) -> Result<Vec<RgbImage>, VideoError> {
    let length = fs::metadata(path).map_err(VideoError::Read)?.len();
    let limit = options.decode.limits.max_file_bytes;
    if length > limit {
        return Err(VideoError::Frame(ImageError::Limit {
            what: "size in bytes",
            found: length,
            limit,
            option: "max_file_bytes",
        }));
    }
    let bytes = fs::read(path).map_err(VideoError::Read)?;
    let mut total = 0;
    let mut pixels = 0;
    for frame in frames(&bytes, options)? {
        let (width, height) = frame.map_err(damaged)?.buffer().dimensions();
        total += 1;
        options.check_count(total)?;
        pixels += u64::from(width) * u64::from(height);
        if pixels > options.max_total_pixels {
            return Err(VideoError::Limit {
                what: "pixels in all frames",
                limit: options.max_total_pixels,
                option: "max_total_pixels",
            });
        }
    }
    let mut wanted = chosen(total, count)?.peekable();
    let mut kept = Vec::with_capacity(count);
    for (n, frame) in frames(&bytes, options)?.enumerate() {
        let Some(&next) = wanted.peek() else { break };
        let frame = frame.map_err(damaged)?;
        if n == next {
            wanted.next();
            let frame = DynamicImage::ImageRgba8(frame.into_buffer());
            kept.push(to_rgb(&frame, options.decode.transparency));
        }
    }
    Ok(kept)
}

/// The frames of an animation, each as it is shown.
fn frames<'b>(bytes: &'b [u8], options: &VideoOptions) -> Result<Frames<'b>, VideoError> {
    let cursor = Cursor::new(bytes);
    match image::guess_format(bytes) {
        Ok(ImageFormat::Gif) => {
            let mut decoder = GifDecoder::new(cursor).map_err(damaged)?;
            check(&mut decoder, options)?;
            Ok(decoder.into_frames())
        }
        Ok(ImageFormat::Png) => {
            let mut decoder = PngDecoder::new(cursor).map_err(damaged)?;
            check(&mut decoder, options)?;
            if !decoder.is_apng().map_err(damaged)? {
                return Err(VideoError::UnknownFormat);
            }
            Ok(decoder.apng().map_err(damaged)?.into_frames())
        }
        Ok(ImageFormat::WebP) => {
            let mut decoder = WebPDecoder::new(cursor).map_err(damaged)?;
            check(&mut decoder, options)?;
            if !decoder.has_animation() {
                return Err(VideoError::UnknownFormat);
            }
            Ok(decoder.into_frames())
        }
        _ => Err(VideoError::UnknownFormat),
    }
}

/// Checks the size that the header states, before anything is decoded.
fn check(decoder: &mut impl ImageDecoder, options: &VideoOptions) -> Result<(), VideoError> {
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Degenerate { width, height }.into());
    }
    let image_limits = options.decode.limits;
    image_limits.check_dimensions(width, height)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(image_limits.max_alloc);
    decoder.set_limits(limits).map_err(damaged)
}

fn damaged(error: image::ImageError) -> VideoError {
    ImageError::decode(error).into()
}
