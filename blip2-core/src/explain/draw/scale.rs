//! The colour scale.

use image::Rgb;

/// Cividis (Nuñez, Anderton and Renslow, 2018, "Optimizing colormaps with consideration for color
/// vision deficiency"), at 33 evenly spaced places: its lightness rises evenly, so that it reads the
/// same in print without colour, and looks the same with and without the usual kinds of colour
/// blindness.
const CIVIDIS: [[u8; 3]; 33] = [
    [0, 34, 78],
    [0, 40, 91],
    [0, 46, 106],
    [5, 51, 113],
    [26, 56, 111],
    [39, 62, 110],
    [50, 67, 109],
    [59, 73, 108],
    [67, 78, 108],
    [75, 84, 108],
    [83, 90, 109],
    [90, 95, 110],
    [97, 101, 111],
    [104, 106, 113],
    [111, 112, 115],
    [118, 118, 118],
    [125, 124, 120],
    [132, 130, 121],
    [140, 136, 120],
    [147, 142, 120],
    [155, 148, 118],
    [163, 154, 116],
    [171, 160, 114],
    [180, 167, 111],
    [188, 174, 108],
    [196, 180, 104],
    [205, 187, 99],
    [213, 194, 94],
    [222, 201, 88],
    [231, 209, 80],
    [240, 216, 70],
    [249, 224, 58],
    [254, 232, 56],
];

/// Which values the ends of the scale stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Scale {
    /// From zero, or the least value if that is below it, to the largest.
    pub(super) fn of<'v>(values: impl IntoIterator<Item = &'v f32>) -> Self {
        let (mut low, mut high) = (0f32, 0f32);
        for value in values {
            (low, high) = (low.min(*value), high.max(*value));
        }
        Self { low, high }
    }

    /// The colour of a value.
    pub(super) fn color(&self, value: f32) -> Rgb<u8> {
        let range = self.high - self.low;
        match range > 0.0 {
            true => color((value - self.low) / range),
            false => color(0.0),
        }
    }
}

/// The colour at a place between 0 and 1.
pub(super) fn color(place: f32) -> Rgb<u8> {
    let last = CIVIDIS.len() - 1;
    let place = place.clamp(0.0, 1.0) * last as f32;
    let below = (place as usize).min(last - 1);
    let part = place - below as f32;
    let [first, second] = [CIVIDIS[below], CIVIDIS[below + 1]];
    Rgb([0, 1, 2].map(|channel| {
        let (a, b) = (f32::from(first[channel]), f32::from(second[channel]));
        (a + (b - a) * part).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of sRGB (IEC 61966-2-1).
    fn lightness(color: Rgb<u8>) -> f32 {
        let linear = color.0.map(|channel| {
            let x = f32::from(channel) / 255.0;
            match x <= 0.040_45 {
                true => x / 12.92,
                false => ((x + 0.055) / 1.055).powf(2.4),
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn it_grows_lighter_all_the_way() {
        let steps: Vec<f32> = (0..=100)
            .map(|n| lightness(color(n as f32 / 100.0)))
            .collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert!(steps[0] < 0.02 && steps[100] > 0.7);
    }

    #[test]
    fn its_ends_are_the_values_ends() {
        let scale = Scale::of(&[-1.0, 3.0, 0.5]);
        assert_eq!(
            scale,
            Scale {
                low: -1.0,
                high: 3.0
            }
        );
        assert_eq!(scale.color(-1.0).0, CIVIDIS[0]);
        assert_eq!(scale.color(3.0).0, CIVIDIS[32]);
        assert_eq!(scale.color(1.0).0, CIVIDIS[16]);
        assert_eq!(Scale::of(&[0.0, 0.0]).color(0.0).0, CIVIDIS[0]);
    }
}
