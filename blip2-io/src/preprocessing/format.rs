//! Which format bytes are of.

use image::ImageFormat;

use super::{apple_double::MAGIC, error::ImageError};
use crate::lfs;

/// With the feature it is read before anyone asks here.
const JPEG_2000: &str = "JPEG 2000 (for which the feature `jpeg2000` has a decoder)";

/// Formats that are known by their first bytes and not read, at the place where those begin.
const NOT_READ: [(usize, &[u8], &str); 18] = [
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypmsf1", "HEIF"),
    (4, b"ftypqt", "QuickTime film"),
    (4, b"ftyp", "MP4 film"),
    (0, b"\0\0\0\x0cjP  ", JPEG_2000),
    (0, b"\xff\x4f\xff\x51", JPEG_2000),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, MAGIC, "AppleDouble (what macOS keeps beside a file)"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"<svg", "SVG"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM film"),
];

/// Sounds by their first bytes, which are given where a picture is due by who has a model of sound.
const SOUNDS: [(usize, &[u8], &str); 5] = [
    (8, b"WAVE", "WAV"),
    (8, b"AIFF", "AIFF"),
    (0, b"fLaC", "FLAC"),
    (0, b"ID3", "MP3"),
    (0, b"OggS", "Ogg"),
];

/// The format that the first bytes tell.
///
/// # Errors
///
/// [`ImageError::UnsupportedFormat`] naming a format that is not read, [`ImageError::Sound`],
/// [`ImageError::GitLfs`], or
/// [`ImageError::UnknownFormat`].
pub(super) fn format_of(bytes: &[u8]) -> Result<ImageFormat, ImageError> {
    if lfs::is_pointer(bytes) {
        return Err(ImageError::GitLfs);
    }
    let known = image::guess_format(bytes).ok();
    if let Some(format) = known.filter(ImageFormat::reading_enabled) {
        if format == ImageFormat::WebP && is_widest_webp(bytes) {
            let format = "lossless WebP of 16,384 pixels a side";
            return Err(ImageError::UnsupportedFormat { format });
        }
        return Ok(format);
    }
    let begins = |(place, magic, _): &&(usize, &[u8], &str)| {
        bytes
            .get(*place..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    if let Some((_, _, format)) = NOT_READ.iter().find(begins) {
        return Err(ImageError::UnsupportedFormat { format });
    }
    if let Some((_, _, format)) = SOUNDS.iter().find(begins) {
        return Err(ImageError::Sound { format });
    }
    match known {
        Some(ImageFormat::OpenExr) => Err(ImageError::UnsupportedFormat { format: "OpenEXR" }),
        Some(ImageFormat::Hdr) => Err(ImageError::UnsupportedFormat {
            format: "Radiance HDR",
        }),
        Some(ImageFormat::Dds) => Err(ImageError::UnsupportedFormat { format: "DDS" }),
        _ if is_tga(bytes) => Ok(ImageFormat::Tga),
        _ => Err(ImageError::UnknownFormat),
    }
}

/// TGA has no signature; a header whose numbers all make sense is taken for one, as Pillow does.
fn is_tga(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<18>() else {
        return false;
    };
    let [_, map, kind, .., w0, w1, h0, h1, depth, _] = *header;
    let measured = u16::from_le_bytes([w0, w1]) > 0 && u16::from_le_bytes([h0, h1]) > 0;
    map <= 1 && matches!(kind, 1..=3 | 9..=11) && measured && matches!(depth, 8 | 16 | 24 | 32)
}

/// Whether a lossless WebP has the most rows or columns that its header can say, which its decoder takes
/// for none, and encoders do not write.
fn is_widest_webp(bytes: &[u8]) -> bool {
    const SIDE: u32 = (1 << 14) - 1;
    let header = bytes.get(12..).and_then(|chunk| chunk.first_chunk::<13>());
    let Some([b'V', b'P', b'8', b'L', _, _, _, _, 0x2f, sides @ ..]) = header else {
        return false;
    };
    let sides = u32::from_le_bytes(*sides);
    sides & SIDE == SIDE || (sides >> 14) & SIDE == SIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_lossless_webp_is_not_taken_for_one_of_no_pixels() {
        let webp = |width: u32, height: u32| {
            let sides = (width - 1) | (height - 1) << 14;
            [
                b"RIFF\0\0\0\0WEBPVP8L\x09\0\0\0\x2f",
                &sides.to_le_bytes()[..],
            ]
            .concat()
        };
        for (width, height) in [(16_384, 1), (1, 16_384), (16_384, 16_384)] {
            let error = format_of(&webp(width, height)).unwrap_err().to_string();
            assert!(error.contains("16,384"), "{error}");
        }
        assert_eq!(format_of(&webp(16_383, 1)).unwrap(), ImageFormat::WebP);
    }

    #[test]
    fn formats_that_are_not_read_are_named() {
        for (bytes, name) in [
            (&b"\0\0\0\x1cftypavif\0\0\0\0"[..], "AVIF"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"\0\0\0\x18ftypisom", "MP4"),
            (b"\xff\x0a\0\0", "JPEG XL"),
            (b"\x76\x2f\x31\x01", "OpenEXR"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "a sound (WAV)"),
            (b"fLaC\0\0\0\x22", "a sound (FLAC)"),
        ] {
            let error = format_of(bytes).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        for bytes in [&b""[..], b"text of some length, which is none", &[0; 64]] {
            assert!(matches!(format_of(bytes), Err(ImageError::UnknownFormat)));
        }
    }
}
