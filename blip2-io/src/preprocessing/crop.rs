//! Cutting pictures around their centre.

use image::{RgbImage, imageops};

use super::sizing::Size;

/// The middle of a picture, on black where the picture is smaller (`center_crop` of `transformers`).
pub(super) fn center_crop(image: &RgbImage, size: Size) -> RgbImage {
    let mut target = RgbImage::new(size.width, size.height);
    let offset = |source: u32, target: u32| {
        let [source, target] = [i64::from(source), i64::from(target)];
        // What is cut off is rounded down, and so is what is added behind, in Python's way: towards
        // minus infinity.
        -(source - target).div_euclid(2)
    };
    let x = offset(image.width(), size.width);
    let y = offset(image.height(), size.height);
    imageops::replace(&mut target, image, x, y);
    target
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// A row whose pixels are numbered from 1.
    fn row(width: u32) -> RgbImage {
        RgbImage::from_fn(width, 1, |x, _| Rgb([x as u8 + 1; 3]))
    }

    fn cut(width: u32, to: u32) -> Vec<u8> {
        let size = Size {
            height: 1,
            width: to,
        };
        center_crop(&row(width), size)
            .pixels()
            .map(|p| p.0[0])
            .collect()
    }

    #[test]
    fn the_middle_as_the_reference_cuts_it() {
        // By `center_crop` of transformers 5.23.
        assert_eq!(cut(5, 3), [2, 3, 4]);
        assert_eq!(cut(6, 3), [2, 3, 4]);
        assert_eq!(cut(5, 2), [2, 3]);
        assert_eq!(cut(3, 5), [0, 1, 2, 3, 0]);
        assert_eq!(cut(3, 6), [0, 0, 1, 2, 3, 0]);
        assert_eq!(cut(2, 5), [0, 0, 1, 2, 0]);
        assert_eq!(cut(4, 4), [1, 2, 3, 4]);
    }
}
