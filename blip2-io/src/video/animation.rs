//! Animated pictures.

use std::path::Path;

use image::{DynamicImage, Frames, RgbImage};

use super::{VideoError, VideoOptions, chosen};
use crate::preprocessing::{ImageError, animation, read_file, to_rgb};

/// `count` of the frames of an animated file, evenly chosen.
///
/// The file is decoded twice, first to count its frames, so that no more than the chosen ones are
/// held.
pub(super) fn open(
    path: &Path,
    count: usize,
    options: &VideoOptions,
) -> Result<Vec<RgbImage>, VideoError> {
    // The file's name is added to whatever goes wrong with it.
    let bytes = read_file(path, &options.decode).map_err(|error| match error {
        ImageError::Read { source, .. } => VideoError::Read(source),
        ImageError::File { source, .. } => VideoError::Frame(*source),
        error => VideoError::Frame(error),
    })?;
    decode(&bytes, count, options)
}

/// As [`open`], of a file's bytes.
pub(super) fn decode(
    bytes: &[u8],
    count: usize,
    options: &VideoOptions,
) -> Result<Vec<RgbImage>, VideoError> {
    let mut total = 0;
    let mut pixels = 0;
    for frame in frames(bytes, options)? {
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
    for (n, frame) in frames(bytes, options)?.enumerate() {
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
    let format = image::guess_format(bytes).map_err(|_| VideoError::UnknownFormat)?;
    let frames = animation::frames(bytes, format, &options.decode.limits)?;
    frames.ok_or(VideoError::UnknownFormat)
}

fn damaged(error: image::ImageError) -> VideoError {
    ImageError::decode(error).into()
}
