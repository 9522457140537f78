//! Any colour type to RGB, as Pillow and `transformers` convert it.

use image::{DynamicImage, Rgb, RgbImage};

/// What becomes of transparency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transparency {
    /// The picture is laid over white, as `transformers` 5 does.
    #[default]
    OverWhite,
    /// The alpha channel is dropped, as `transformers` 4 did: colours that were transparent become visible.
    Drop,
}

/// Converts a picture to 8-bit RGB as Pillow's `convert("RGB")` does.
///
/// 16-bit gray is clipped at 255, not scaled; other 16-bit channels keep their high byte; floats
/// are taken as 0 to 1 (Pillow has no such pictures). Transparency is treated as asked.
pub fn to_rgb(image: &DynamicImage, transparency: Transparency) -> RgbImage {
    match image {
        DynamicImage::ImageRgb8(rgb) => rgb.clone(),
        DynamicImage::ImageLuma8(gray) => convert(gray, |&[l]| [l; 3]),
        DynamicImage::ImageLuma16(gray) => {
            convert(gray, |&[l]| [u8::try_from(l).unwrap_or(u8::MAX); 3])
        }
        DynamicImage::ImageRgb16(rgb) => convert(rgb, |rgb: &[u16; 3]| rgb.map(high_byte)),
        DynamicImage::ImageLumaA8(gray) => convert(gray, |&[l, a]| blend([l; 3], a, transparency)),
        DynamicImage::ImageLumaA16(gray) => convert(gray, |&[l, a]| {
            blend([high_byte(l); 3], high_byte(a), transparency)
        }),
        DynamicImage::ImageRgba8(rgba) => {
            convert(rgba, |&[r, g, b, a]| blend([r, g, b], a, transparency))
        }
        DynamicImage::ImageRgba16(rgba) => convert(rgba, |rgba: &[u16; 4]| {
            let [r, g, b, a] = rgba.map(high_byte);
            blend([r, g, b], a, transparency)
        }),
        // Floats, and whatever the `image` crate adds: by its own conversion.
        other => convert(&other.to_rgba8(), |&[r, g, b, a]| {
            blend([r, g, b], a, transparency)
        }),
    }
}

fn convert<P, const N: usize>(
    image: &image::ImageBuffer<P, Vec<P::Subpixel>>,
    color: impl Fn(&[P::Subpixel; N]) -> [u8; 3],
) -> RgbImage
where
    P: image::Pixel,
{
    let (width, height) = image.dimensions();
    let (channels, _) = image.as_raw().as_chunks::<N>();
    let row = width as usize;
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(channels
            .get(y as usize * row + x as usize)
            .map_or([0; 3], &color))
    })
}

fn high_byte(value: u16) -> u8 {
    value.to_be_bytes()[0]
}

/// Lays a colour over white, in the fixed-point arithmetic of Pillow's `alpha_composite`.
fn blend(color: [u8; 3], alpha: u8, transparency: Transparency) -> [u8; 3] {
    const BITS: u32 = 7;
    if transparency == Transparency::Drop {
        return color;
    }
    let alpha = u32::from(alpha);
    color.map(|value| {
        // The 7 fractional bits are those that Pillow keeps.
        let sum = (u32::from(value) * alpha + 255 * (255 - alpha)) << BITS;
        let rounded = sum + (0x80 << BITS);
        // Division by 255 by shifts: x / 255 is x / 256 · (1 + 1/256 + …), cut after two terms.
        ((((rounded >> 8) + rounded) >> 8) >> BITS) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, LumaA, Rgba};

    #[test]
    fn opaque_and_clear_pixels_are_exact() {
        for value in [0, 1, 100, 254, 255] {
            assert_eq!(blend([value; 3], 255, Transparency::OverWhite), [value; 3]);
            assert_eq!(blend([value; 3], 0, Transparency::OverWhite), [255; 3]);
            assert_eq!(blend([value; 3], 0, Transparency::Drop), [value; 3]);
        }
        assert_eq!(blend([0; 3], 128, Transparency::OverWhite), [127; 3]);
    }

    #[test]
    fn sixteen_bit_gray_is_clipped_and_colours_keep_the_high_byte() {
        let gray = ImageBuffer::from_fn(2, 1, |x, _| Luma([if x == 0 { 200u16 } else { 5000 }]));
        let rgb = to_rgb(&DynamicImage::ImageLuma16(gray), Transparency::default());
        assert_eq!(rgb.as_raw().as_slice(), [200, 200, 200, 255, 255, 255]);

        let color = ImageBuffer::from_pixel(1, 1, Rgb([0x1234u16, 0xff00, 0x00ff]));
        let rgb = to_rgb(&DynamicImage::ImageRgb16(color), Transparency::default());
        assert_eq!(rgb.as_raw().as_slice(), [0x12, 0xff, 0x00]);
    }

    #[test]
    fn every_alpha_type_is_laid_over_white() {
        let images = [
            DynamicImage::ImageLumaA8(ImageBuffer::from_pixel(1, 1, LumaA([9, 0]))),
            DynamicImage::ImageLumaA16(ImageBuffer::from_pixel(1, 1, LumaA([9, 0]))),
            DynamicImage::ImageRgba8(ImageBuffer::from_pixel(1, 1, Rgba([9, 9, 9, 0]))),
            DynamicImage::ImageRgba16(ImageBuffer::from_pixel(1, 1, Rgba([9, 9, 9, 0]))),
            DynamicImage::ImageRgba32F(ImageBuffer::from_pixel(1, 1, Rgba([0.1, 0.1, 0.1, 0.0]))),
        ];
        for image in images {
            assert_eq!(
                to_rgb(&image, Transparency::OverWhite).as_raw().as_slice(),
                [255; 3]
            );
        }
    }
}
