//! Values laid over a picture.

use image::{Rgb, RgbImage, imageops};

use super::scale::Scale;

/// By how much the picture's darkest places darken the scale's colour. The picture has no colours of its
/// own here, so that no yellow thing is taken for a high value, and where it is white the colour is the
/// legend's.
const SHADE: f32 = 0.45;

/// Values over a grid, and where in a picture that lies.
pub(super) struct Laid<'v> {
    pub(super) values: &'v [f32],
    pub(super) grid: [usize; 2],
    pub(super) region: [f32; 4],
    pub(super) scale: Scale,
}

impl Laid<'_> {
    /// The picture with the values over it. Between the patches' centres they are interpolated.
    pub(super) fn over(&self, picture: &RgbImage) -> RgbImage {
        let gray = imageops::grayscale(picture);
        let (width, height) = picture.dimensions();
        RgbImage::from_fn(width, height, |x, y| {
            let light = gray.get_pixel(x, y).0[0];
            let place = [
                (x as f32 + 0.5) / width.max(1) as f32,
                (y as f32 + 0.5) / height.max(1) as f32,
            ];
            match self.at(place) {
                Some(value) => blended(self.scale.color(value), light),
                None => Rgb([light; 3]),
            }
        })
    }

    /// The value at a place of the picture; nothing outside of the grid.
    fn at(&self, [x, y]: [f32; 2]) -> Option<f32> {
        let [left, top, right, bottom] = self.region;
        let (x, y) = ((x - left) / (right - left), (y - top) / (bottom - top));
        let inside = (0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y);
        let [rows, columns] = self.grid;
        if !inside || rows * columns == 0 {
            return None;
        }
        let (row, below, down) = between(y, rows);
        let (column, beside, across) = between(x, columns);
        let value = |row: usize, column: usize| self.values.get(row * columns + column).copied();
        let mix = |a: f32, b: f32, part: f32| a + (b - a) * part;
        let upper = mix(value(row, column)?, value(row, beside)?, across);
        let lower = mix(value(below, column)?, value(below, beside)?, across);
        Some(mix(upper, lower, down))
    }
}

/// The cells whose centres a place lies between, and how far it is on its way.
fn between(place: f32, cells: usize) -> (usize, usize, f32) {
    let place = (place * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
    let first = place as usize;
    (first, (first + 1).min(cells - 1), place - first as f32)
}

fn blended(color: Rgb<u8>, light: u8) -> Rgb<u8> {
    let part = 1.0 - SHADE * (1.0 - f32::from(light) / 255.0);
    Rgb(color
        .0
        .map(|channel| (part * f32::from(channel)).round() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(values: &[f32], grid: [usize; 2], region: [f32; 4]) -> Laid<'_> {
        let scale = Scale::of(values);
        Laid {
            values,
            grid,
            region,
            scale,
        }
    }

    #[test]
    fn centres_have_their_patches_values() {
        let laid = laid(
            &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            [2, 3],
            [0.0, 0.0, 1.0, 1.0],
        );
        for (place, value) in (0..6).zip(laid.values) {
            let (row, column) = (place / 3, place % 3);
            let centre = [(column as f32 + 0.5) / 3.0, (row as f32 + 0.5) / 2.0];
            let found = laid.at(centre).unwrap();
            assert!((found - value).abs() < 1e-5, "{place}: {found}");
        }
        assert!((laid.at([0.5, 0.5]).unwrap() - 2.5).abs() < 1e-5);
    }

    #[test]
    fn outside_of_what_is_seen_there_is_nothing() {
        let laid = laid(&[1.0], [1, 1], [0.25, 0.0, 0.75, 1.0]);
        assert_eq!(laid.at([0.2, 0.5]), None);
        assert_eq!(laid.at([0.5, 0.5]), Some(1.0));
        let picture = RgbImage::from_pixel(8, 4, Rgb([200, 0, 0]));
        let over = laid.over(&picture);
        let [outside, inside] = [0, 4].map(|x| over.get_pixel(x, 2).0);
        assert!(outside[0] == outside[2] && inside[0] > inside[2] + 50);
    }
}
