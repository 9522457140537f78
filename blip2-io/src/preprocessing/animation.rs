//! Pictures that move.

use std::io::Cursor;

use image::{
    AnimationDecoder, Frames, ImageDecoder, ImageFormat, ImageResult, Limits, Rgba,
    codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder},
};

use super::{error::ImageError, limits::ImageLimits};

/// The most bytes that a PNG's compressed colour profile may unpack to, among what else is not pixels.
const MAX_METADATA: u64 = 16 << 20;

/// Limits for what a file holds beside its pixels.
pub(crate) fn metadata_limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_METADATA);
    limits
}

/// The frames of an animated GIF, PNG or WebP, each as it is shown; `None` of a picture that does not
/// move, or is of another format.
///
/// # Errors
///
/// If the file is damaged, or larger than the limits.
pub(crate) fn frames<'b>(
    bytes: &'b [u8],
    format: ImageFormat,
    limits: &ImageLimits,
) -> Result<Option<Frames<'b>>, ImageError> {
    let cursor = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => {
            let mut decoder = opened(GifDecoder::new(cursor))?;
            check(&mut decoder, limits, bytes.len())?;
            Some(decoder.into_frames())
        }
        ImageFormat::Png => {
            let mut decoder = opened(PngDecoder::with_limits(cursor, metadata_limits()))?;
            check(&mut decoder, limits, bytes.len())?;
            match opened(decoder.is_apng())? {
                true => Some(opened(decoder.apng())?.into_frames()),
                false => None,
            }
        }
        ImageFormat::WebP => {
            let mut decoder = opened(WebPDecoder::new(cursor))?;
            check(&mut decoder, limits, bytes.len())?;
            // A frame that is taken away leaves nothing, as in libwebp; unless it is told, the decoder leaves it.
            if decoder.has_animation() && decoder.color_type().has_alpha() {
                opened(decoder.set_background_color(Rgba([0; 4])))?;
            }
            decoder.has_animation().then(|| decoder.into_frames())
        }
        _ => None,
    })
}

/// The format's name if the picture has more than one frame. A file that cannot be read this far is left
/// to the decoder to refuse.
pub(super) fn moving(
    bytes: &[u8],
    format: ImageFormat,
    limits: &ImageLimits,
) -> Option<&'static str> {
    let frames = frames(bytes, format, limits).ok()??;
    match format {
        // A PNG or WebP says of itself that it moves.
        ImageFormat::Png => Some("PNG"),
        ImageFormat::WebP => Some("WebP"),
        _ => (frames.take(2).filter(Result::is_ok).count() > 1).then_some("GIF"),
    }
}

/// Checks the size that the header states, before anything is decoded.
fn check(
    decoder: &mut impl ImageDecoder,
    limits: &ImageLimits,
    bytes: usize,
) -> Result<(), ImageError> {
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Degenerate { width, height });
    }
    limits.check_size(width, height, bytes)?;
    // Frames are held in RGBA, whatever the file has.
    let pixels = u64::from(width) * u64::from(height) * 4;
    let mut allowed = Limits::no_limits();
    allowed.max_alloc = Some(limits.budget(pixels));
    opened(decoder.set_limits(allowed))
}

fn opened<T>(result: ImageResult<T>) -> Result<T, ImageError> {
    result.map_err(ImageError::decode)
}
