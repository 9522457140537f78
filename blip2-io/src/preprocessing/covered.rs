//! Whether a file is long enough for the pixels that it claims, told before they are allocated.

use image::ImageFormat;
use tiff::{
    decoder::Decoder,
    tags::{CompressionMethod, Tag},
};

use super::{bmp, error::ImageError};
use crate::fault::{Cause, ErrorKind};

/// Of so many pixels a picture is left to its decoder, whose word for what is missing is better.
const SMALL: u64 = 4 << 20;

/// Refuses a picture of which its format cannot hold so many pixels in so few bytes. `decoded` is how many
/// bytes all levels take.
pub(super) fn check(
    bytes: &[u8],
    format: ImageFormat,
    (width, height): (u32, u32),
    decoded: u64,
) -> Result<(), ImageError> {
    if u64::from(width) * u64::from(height) <= SMALL {
        return Ok(());
    }
    let size = (u64::from(width), u64::from(height));
    match fewest_bytes(bytes, format, size, decoded) {
        Some(needed) if needed > bytes.len() as u64 => Err(ImageError::Decode {
            kind: ErrorKind::Malformed,
            source: Cause::new(format!(
                "the file ends before its {width}×{height} pixels do: it has {} bytes",
                bytes.len()
            )),
        }),
        _ => Ok(()),
    }
}

/// The fewest bytes in which a format holds a picture of this size; `None` where a format has no bound,
/// or the header cannot be read, which its decoder will say.
fn fewest_bytes(
    bytes: &[u8],
    format: ImageFormat,
    (width, height): (u64, u64),
    decoded: u64,
) -> Option<u64> {
    let pixels = width * height;
    match format {
        ImageFormat::Bmp => bmp::fewest_bytes(bytes, width, height),
        ImageFormat::Jpeg => Some(pixels / JPEG),
        ImageFormat::Png => {
            let [depth, color] = *bytes.get(24..)?.first_chunk()?;
            let channels = match color {
                2 => 3,
                4 => 2,
                6 => 4,
                _ => 1,
            };
            Some((pixels * u64::from(depth) * channels / 8) / DEFLATE)
        }
        ImageFormat::Pnm => Some(match bytes.get(1)? {
            // A bit for each pixel; in words, digits with a space between them.
            b'4' => width.div_ceil(8) * height,
            b'2' | b'3' => decoded.saturating_sub(1),
            _ => decoded,
        }),
        // The longest run is of 62 pixels.
        ImageFormat::Qoi => Some(pixels / 62),
        ImageFormat::Tga => tga(bytes, pixels),
        ImageFormat::Tiff => tiff(bytes, pixels),
        _ => None,
    }
}

/// How many bytes one of a deflated stream unpacks to at most.
const DEFLATE: u64 = 1_032;

/// How many pixels a JPEG has for each byte at most. A block of 64 takes a bit of each channel at least,
/// and where channels are thinned in different directions a quarter of a picture's blocks are there.
const JPEG: u64 = 64 * 8 * 4;

fn tga(bytes: &[u8], pixels: u64) -> Option<u64> {
    let depth = u64::from(*bytes.get(16)?).div_ceil(8);
    Some(match bytes.get(2)? {
        // A run of 128 pixels takes a byte, and one pixel.
        9..=11 => pixels / 128 * (1 + depth),
        _ => pixels * depth,
    })
}

/// By how its levels are compressed. What they are compressed to has no bound for faxes.
fn tiff(bytes: &[u8], pixels: u64) -> Option<u64> {
    let mut decoder = Decoder::new(std::io::Cursor::new(bytes)).ok()?;
    let color = decoder.colortype().ok()?;
    let bits = pixels * u64::from(color.bit_depth()) * u64::from(color.num_samples());
    let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression);
    let ratio = match compression.ok()?.map(CompressionMethod::from_u16) {
        None | Some(Some(CompressionMethod::None)) => 1,
        Some(Some(CompressionMethod::PackBits)) => 64,
        // A code of 9 bits or more stands for 4,096 bytes at most.
        Some(Some(CompressionMethod::LZW)) => 4_096,
        Some(Some(CompressionMethod::Deflate | CompressionMethod::OldDeflate)) => DEFLATE,
        Some(Some(CompressionMethod::ModernJPEG)) => return Some(pixels / JPEG),
        Some(_) => return None,
    };
    // Thinned colours have half the levels of a gray picture more, and not twice more.
    let thinned = matches!(color, tiff::ColorType::YCbCr(_));
    let bits = if thinned { bits / 3 } else { bits };
    Some(bits / 8 / ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a TGA of 5000 × 4000 pixels.
    fn tga_header(kind: u8, depth: u8) -> Vec<u8> {
        let mut header = vec![0; 18];
        header[2] = kind;
        header[12..16].copy_from_slice(&[0x88, 0x13, 0xa0, 0x0f]);
        header[16] = depth;
        header
    }

    #[test]
    fn bytes_that_can_hold_the_pixels_pass_and_fewer_do_not() {
        let (size, pixels) = ((5_000, 4_000), 20_000_000);
        let at = |mut header: Vec<u8>, format, length: usize, decoded| {
            header.resize(length, 0);
            check(&header, format, size, decoded)
        };
        let png = [&[0; 24][..], &[1, 0]].concat();
        for (header, format, decoded, fewest) in [
            (tga_header(2, 24), ImageFormat::Tga, 3 * pixels, 60_000_000),
            (tga_header(10, 24), ImageFormat::Tga, 3 * pixels, 625_000),
            (tga_header(11, 8), ImageFormat::Tga, pixels, 312_500),
            (b"P4".to_vec(), ImageFormat::Pnm, pixels, 2_500_000),
            (b"P6".to_vec(), ImageFormat::Pnm, 3 * pixels, 60_000_000),
            (b"qoif".to_vec(), ImageFormat::Qoi, 3 * pixels, 322_580),
            (png, ImageFormat::Png, pixels, 2_422),
            (vec![0xff, 0xd8], ImageFormat::Jpeg, pixels, 9_765),
        ] {
            assert!(at(header.clone(), format, fewest, decoded).is_ok());
            let error = at(header, format, fewest - 1, decoded).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().contains("5000×4000"), "{error}");
        }
    }

    #[test]
    fn small_pictures_are_left_to_their_decoders() {
        assert!(check(&tga_header(2, 24), ImageFormat::Tga, (2_000, 2_000), 0).is_ok());
    }
}
