//! Resizing as Pillow does it (`Resample.c`), to the bit: two passes in fixed point, each rounded to
//! 8 bits. And as torchvision does it, which is the same in numbers of 16 bits, always rows first.
//!
//! A model was trained on what Pillow made of its pictures, and a picture that differs by a level
//! here and there can change a token. So the arithmetic is Pillow's, its roundings and their order
//! included, where a plain filter in floats would be nearer to the truth.

use std::{fmt, str::FromStr};

use image::RgbImage;

use super::{ImageError, Resample, sizing::Size};

/// Whose arithmetic resizes pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resizing {
    /// Pillow's, to the bit: what BLIP-2 was trained with, and `transformers` before version 5.
    #[default]
    Pillow,
    /// Torchvision's for numbers of 8 bits, with antialiasing: what `transformers` 5 does where
    /// torchvision is installed. It knows bicubic, bilinear and nearest.
    Torchvision,
    /// As the folder's own class: torchvision's where its name ends in `Fast`, else Pillow's.
    Folder,
}

/// A name that is none of [`Resizing`]'s.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no way of resizing; known: pillow, torchvision, folder")]
pub struct UnknownResizing(String);

impl Resizing {
    /// The one that is meant for a processor of this class.
    pub(super) fn of_class(self, class: Option<&str>) -> Self {
        match self {
            Self::Folder if class.is_some_and(|class| class.ends_with("Fast")) => Self::Torchvision,
            Self::Folder => Self::Pillow,
            chosen => chosen,
        }
    }

    /// Refuses filters that it does not know.
    pub(super) fn check(self, filter: Resample) -> Result<(), ImageError> {
        let known = matches!(
            filter,
            Resample::Bicubic | Resample::Bilinear | Resample::Nearest
        );
        match self {
            Self::Torchvision if !known => Err(ImageError::Config {
                key: "resample",
                value: filter.code().to_string(),
                reason: "torchvision resizes by bicubic, bilinear and nearest alone",
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Resizing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pillow => "pillow",
            Self::Torchvision => "torchvision",
            Self::Folder => "folder",
        })
    }
}

impl FromStr for Resizing {
    type Err = UnknownResizing;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "pillow" => Ok(Self::Pillow),
            "torchvision" => Ok(Self::Torchvision),
            "folder" => Ok(Self::Folder),
            _ => Err(UnknownResizing(name.to_string())),
        }
    }
}

/// Fractional bits of a weight: 32, less 8 for the pixel and 2 so that a sum of weights beyond one
/// (the cubic overshoots) does not overflow. Sums of products are then exact integers, the same in
/// any order, so that the passes below may be vectorised.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Resizes a picture to exactly `width` × `height`, equal to `PIL.Image.resize` in every bit.
///
/// When shrinking, the filter widens with the scale, so that every source pixel counts. A pass
/// that would change nothing is left out. A size of zero gives an empty picture.
///
/// ```
/// use blip2_io::{
///     image::{Rgb, RgbImage},
///     preprocessing::{Resample, resize},
/// };
///
/// let picture = RgbImage::from_fn(4, 1, |x, _| Rgb([64 * x as u8; 3]));
/// let smaller = resize(&picture, 2, 1, Resample::Box);
/// assert_eq!(smaller.as_raw(), &[32, 32, 32, 160, 160, 160]);
/// ```
pub fn resize(image: &RgbImage, width: u32, height: u32, filter: Resample) -> RgbImage {
    resize_by(Resizing::Pillow, image, Size { height, width }, filter)
}

/// Resizes a picture in one of the ways.
pub(super) fn resize_by(
    way: Resizing,
    image: &RgbImage,
    Size { height, width }: Size,
    filter: Resample,
) -> RgbImage {
    let size = (width as usize, height as usize);
    let source = (image.width() as usize, image.height() as usize);
    if size == source || width == 0 || height == 0 || source.0 == 0 || source.1 == 0 {
        return if size == source {
            image.clone()
        } else {
            RgbImage::new(width, height)
        };
    }
    let raw = if filter == Resample::Nearest {
        nearest(image.as_raw(), source, size)
    } else {
        let across =
            |raw: &[u8]| horizontal(raw, source.0, &Weights::new(way, filter, source.0, size.0));
        let down =
            |raw: &[u8], width| vertical(raw, width, &Weights::new(way, filter, source.1, size.1));
        match (size.0 != source.0, size.1 != source.1) {
            (true, true) if way != Resizing::Torchvision && vertical_first(source, size) => {
                across(&down(image.as_raw(), source.0))
            }
            (true, true) => down(&across(image.as_raw()), size.0),
            (true, false) => across(image.as_raw()),
            (false, _) => down(image.as_raw(), size.0),
        }
    };
    RgbImage::from_raw(width, height, raw).unwrap_or_else(|| RgbImage::new(width, height))
}

/// Whether Pillow resizes the columns before the rows. Rounding in between makes the order show.
///
/// Before version 13 it never did; since then it does where the height shrinks by more than twice
/// as many pixels as the width. (Found by comparing Pillow 13.0 with both orders over 2,935 pairs
/// of sizes; the rule holds for all of them.)
fn vertical_first(source: (usize, usize), size: (usize, usize)) -> bool {
    let fewer_rows = source.1.saturating_sub(size.1);
    let fewer_columns = source.0.saturating_sub(size.0);
    fewer_rows > 2 * fewer_columns
}

/// For each output position: where its source pixels start, and their weights.
struct Weights {
    spans: Vec<(usize, Vec<i32>)>,
    /// Their fractional bits.
    precision: u32,
}

impl Weights {
    fn new(way: Resizing, filter: Resample, source: usize, target: usize) -> Self {
        let scale = source as f64 / target as f64;
        // When shrinking, the filter is stretched over all source pixels that fall into one, which
        // is what prevents aliasing. When enlarging it keeps its width, and interpolates.
        let widening = scale.max(1.0);
        let support = filter.support() * widening;
        // Multiplied by the reciprocal, as Pillow does: a division rounds otherwise.
        let shrink = 1.0 / widening;
        let spans: Vec<(usize, Vec<f64>)> = (0..target)
            .map(|position| {
                // Pixels are areas: pixel n is centred at n + 0.5, in the source and in the target.
                let center = (position as f64 + 0.5) * scale;
                // The pixels whose centres lie within the support. Casts cut towards zero, as in C.
                let first = (center - support + 0.5).max(0.0) as usize;
                let end = ((center + support + 0.5) as usize).min(source);
                let weights: Vec<f64> = (first..end)
                    .map(|pixel| filter.weight((pixel as f64 - center + 0.5) * shrink))
                    .collect();
                // At the border the filter is cut off, and what is left is made to sum to one again, so
                // that plain areas stay plain.
                let sum: f64 = weights.iter().sum();
                let share = |weight: f64| if sum == 0.0 { weight } else { weight / sum };
                (first, weights.into_iter().map(share).collect())
            })
            .collect();
        let precision = match way {
            Resizing::Torchvision => torch_precision(&spans),
            Resizing::Pillow | Resizing::Folder => PRECISION_BITS,
        };
        let fixed = |weight: f64| {
            // Rounded half away from zero.
            (weight * f64::from(1 << precision) + 0.5f64.copysign(weight)) as i32
        };
        let spans = spans.into_iter();
        Self {
            spans: spans
                .map(|(first, weights)| (first, weights.into_iter().map(fixed).collect()))
                .collect(),
            precision,
        }
    }
}

/// The most fractional bits with which the largest weight still fits into 16 bits (ATen's
/// `UpSampleKernel.cpp`).
fn torch_precision(spans: &[(usize, Vec<f64>)]) -> u32 {
    let weights = spans.iter().flat_map(|(_, weights)| weights);
    let largest = weights.fold(0.0, |most: f64, &weight| most.max(weight));
    let fits = |bits: &u32| 0.5 + largest * f64::from(1u32 << (bits + 1)) < f64::from(1 << 15);
    (0..PRECISION_BITS).take_while(fits).count() as u32
}

/// Resizes every row. A sum starts from one half, so that the shift at its end rounds to nearest.
fn horizontal(source: &[u8], source_width: usize, weights: &Weights) -> Vec<u8> {
    let bits = weights.precision;
    let mut target = Vec::with_capacity(source.len() / source_width * weights.spans.len());
    for row in source.chunks_exact(3 * source_width) {
        let (pixels, _) = row.as_chunks::<3>();
        for (first, weights) in &weights.spans {
            let mut sums = [1i32 << (bits - 1); 3];
            for ([r, g, b], weight) in pixels.iter().skip(*first).zip(weights) {
                sums[0] += i32::from(*r) * weight;
                sums[1] += i32::from(*g) * weight;
                sums[2] += i32::from(*b) * weight;
            }
            target.extend(sums.map(|sum| rounded(sum, bits)));
        }
    }
    target
}

/// Resizes every column, whole rows at a time so that the inner loop runs over contiguous bytes.
fn vertical(source: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    let (stride, bits) = (3 * width, weights.precision);
    let mut target = Vec::with_capacity(stride * weights.spans.len());
    let mut sums = vec![0i32; stride];
    for (first, weights) in &weights.spans {
        sums.fill(1 << (bits - 1));
        for (row, weight) in source.chunks_exact(stride).skip(*first).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        target.extend(sums.iter().map(|&sum| rounded(sum, bits)));
    }
    target
}

/// A pixel of a sum in fixed point. The shift floors negative sums too; a filter with negative lobes
/// overshoots at edges, and is clipped there.
fn rounded(sum: i32, bits: u32) -> u8 {
    (sum >> bits).clamp(0, 255) as u8
}

/// The nearest pixel, with coordinates summed up step by step as Pillow's affine transform does: a
/// product would round otherwise, and choose other pixels at some sizes.
fn nearest(source: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let places = |from: usize, to: usize| {
        let step = from as f64 / to as f64;
        let start = step * 0.5;
        std::iter::successors(Some(start), move |place| Some(place + step))
            .map(move |place| (place as usize).min(from - 1))
            .take(to)
            .collect::<Vec<_>>()
    };
    let columns = places(from.0, to.0);
    let mut target = Vec::with_capacity(3 * to.0 * to.1);
    for row in places(from.1, to.1) {
        let (pixels, _) = source[3 * row * from.0..3 * (row + 1) * from.0].as_chunks::<3>();
        target.extend(columns.iter().flat_map(|&column| pixels[column]));
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILTERS: [Resample; 6] = [
        Resample::Nearest,
        Resample::Lanczos,
        Resample::Bilinear,
        Resample::Bicubic,
        Resample::Box,
        Resample::Hamming,
    ];

    /// The definition, pixel by pixel.
    fn naive(image: &RgbImage, width: u32, height: u32, filter: Resample) -> RgbImage {
        let pass = |image: &RgbImage, target: u32, horizontal: bool| {
            let source = if horizontal {
                image.width()
            } else {
                image.height()
            };
            if source == target {
                return image.clone();
            }
            let weights = Weights::new(Resizing::Pillow, filter, source as usize, target as usize);
            let (w, h) = if horizontal {
                (target, image.height())
            } else {
                (image.width(), target)
            };
            RgbImage::from_fn(w, h, |x, y| {
                let (first, weights) = &weights.spans[if horizontal { x } else { y } as usize];
                let mut sums = [1i64 << (PRECISION_BITS - 1); 3];
                for (i, weight) in weights.iter().enumerate() {
                    let at = (first + i) as u32;
                    let (x, y) = if horizontal { (at, y) } else { (x, at) };
                    for (sum, value) in sums.iter_mut().zip(image.get_pixel(x, y).0) {
                        *sum += i64::from(value) * i64::from(*weight);
                    }
                }
                image::Rgb(sums.map(|sum| (sum >> PRECISION_BITS).clamp(0, 255) as u8))
            })
        };
        let both = image.width() != width && image.height() != height;
        let (source, size) = (image.dimensions(), (width, height));
        let usize2 = |(a, b): (u32, u32)| (a as usize, b as usize);
        if both && vertical_first(usize2(source), usize2(size)) {
            return pass(&pass(image, height, false), width, true);
        }
        pass(&pass(image, width, true), height, false)
    }

    fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let mix = (x * 7919 + y * 104_729).wrapping_add(seed);
            let mix = mix.wrapping_mul(2_654_435_761);
            image::Rgb([(mix >> 24) as u8, (mix >> 16) as u8, (mix >> 8) as u8])
        })
    }

    proptest! {
        #[test]
        fn the_fast_passes_equal_the_definition(
            (w, h, to_w, to_h) in (1u32..40, 1u32..40, 1u32..40, 1u32..40), seed: u32, f in 1usize..6,
        ) {
            let image = picture(w, h, seed);
            prop_assert_eq!(resize(&image, to_w, to_h, FILTERS[f]), naive(&image, to_w, to_h, FILTERS[f]));
        }

        #[test]
        fn a_plain_picture_stays_plain(
            (w, h, to_w, to_h) in (1u32..60, 1u32..60, 1u32..60, 1u32..60), value: u8, f in 0usize..6,
        ) {
            let image = RgbImage::from_pixel(w, h, image::Rgb([value; 3]));
            let resized = resize(&image, to_w, to_h, FILTERS[f]);
            prop_assert_eq!(resized.dimensions(), (to_w, to_h));
            prop_assert!(resized.as_raw().iter().all(|&v| v == value));
        }
    }

    #[test]
    fn empty_sizes_give_empty_pictures() {
        let image = picture(3, 4, 0);
        assert_eq!(resize(&image, 0, 4, Resample::Bicubic).dimensions(), (0, 4));
        assert_eq!(
            resize(&RgbImage::new(0, 0), 2, 2, Resample::Bicubic).dimensions(),
            (2, 2)
        );
        assert_eq!(resize(&image, 3, 4, Resample::Lanczos), image);
    }
}
