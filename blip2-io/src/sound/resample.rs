//! Another number of samples a second, by the interpolation of `torchaudio`.
//!
//! A band-limited signal is the sum of its samples, each times a sinc around its place; so its values
//! at other places are sums, too (<https://ccrma.stanford.edu/~jos/resample/>). The sinc is cut off
//! after six of its zeros by the square of a cosine (a Hann window), and stretched where samples
//! become fewer, so that frequencies that they cannot hold are filtered out.

use std::f32::consts::PI;

/// How many zeros of the sinc lie on each side of its middle.
const ZEROS: f32 = 6.0;
/// The part of the lower rate's band that passes the filter.
const ROLLOFF: f64 = 0.99;

/// The samples at the rate `to` of those at the rate `from`; neither is zero.
///
/// What `torchaudio` computes in 32 bits is computed in 32 bits here, in its order: places are rounded
/// to them there, and exact ones would differ from its by 1e-5.
pub(super) fn resampled(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return samples.to_vec();
    }
    let kernel = Kernel::between(from, to);
    let length = kernel.length(samples.len());
    let mut resampled = vec![0.0; length];
    // All values at one place between samples have the same weights.
    for phase in 0..kernel.to.min(length) {
        let weights = kernel.weights(phase);
        let places = resampled.iter_mut().skip(phase).step_by(kernel.to);
        for (frame, value) in places.enumerate() {
            *value = weights.sum(samples, frame * kernel.from);
        }
    }
    resampled
}

/// How many samples [`resampled`] makes of `count`.
pub(super) fn length(count: usize, from: u32, to: u32) -> usize {
    match from == to {
        true => count,
        false => Kernel::between(from, to).length(count),
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

/// The filter between two rates without a common divisor: `from` samples become `to`.
struct Kernel {
    from: usize,
    to: usize,
    /// The band that passes.
    band: f64,
    /// How many samples before a frame's first have a weight.
    width: usize,
}

impl Kernel {
    /// The filter between two rates, neither of which is zero.
    fn between(from: u32, to: u32) -> Self {
        let divisor = gcd(from, to);
        Self::new(from / divisor, to / divisor)
    }

    fn new(from: u32, to: u32) -> Self {
        let band = f64::from(from.min(to)) * ROLLOFF;
        let width = (f64::from(ZEROS) * f64::from(from) / band).ceil();
        Self {
            from: from as usize,
            to: to as usize,
            band,
            width: width as usize,
        }
    }

    /// How many samples become of `count`.
    fn length(&self, count: usize) -> usize {
        // The reference rounds it to 32 bits before it takes the next integer.
        let exact = (self.to as f64 * count as f64 / self.from as f64) as f32;
        let filtered = (count / self.from + 1) * self.to;
        (exact.ceil() as usize).min(filtered)
    }

    /// The weights for the value at `phase / to` of a frame.
    fn weights(&self, phase: usize) -> Weights {
        let (from, to) = (self.from as f32, self.to as f32);
        // Where the middle of the sinc is, in samples from the first that has a place.
        let middle = self.width as f64 + phase as f64 * self.from as f64 / self.to as f64;
        let reach = f64::from(ZEROS) * self.from as f64 / self.band + 1.0;
        let begin = (middle - reach).max(0.0) as usize;
        let end = ((middle + reach) as usize + 1).min(2 * self.width + self.from);
        let weight = |place: usize| {
            let sample = place as f32 - self.width as f32;
            let t = (-(phase as f32) / to + sample / from) * self.band as f32;
            self.weight(t)
        };
        Weights {
            first: begin as isize - self.width as isize,
            values: (begin..end).map(weight).collect(),
        }
    }

    /// The windowed sinc at `t`, which counts its zeros from the middle.
    fn weight(&self, t: f32) -> f32 {
        let t = t.clamp(-ZEROS, ZEROS);
        let window = (t * PI / ZEROS / 2.0).cos().powi(2);
        let scale = (self.band / self.from as f64) as f32;
        let angle = t * PI;
        let sinc = match angle == 0.0 {
            true => 1.0,
            false => angle.sin() / angle,
        };
        sinc * (window * scale)
    }
}

/// Weights of neighbouring samples.
struct Weights {
    /// Where the first of them is, from a frame's first sample.
    first: isize,
    values: Vec<f32>,
}

impl Weights {
    /// The weighted sum around the sample `start`; there is silence around the sound.
    fn sum(&self, samples: &[f32], start: usize) -> f32 {
        let first = start as isize + self.first;
        let (skipped, from) = match usize::try_from(first) {
            Ok(from) => (0, from),
            Err(_) => (first.unsigned_abs(), 0),
        };
        let weights = self.values.get(skipped..).unwrap_or_default();
        let near = samples.get(from..).unwrap_or_default();
        let products = weights
            .iter()
            .zip(near)
            .map(|(weight, sample)| f64::from(*weight) * f64::from(*sample));
        products.sum::<f64>() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_one_within_the_filters_ripple() {
        for (from, to) in [(8_000, 16_000), (44_100, 16_000), (16_000, 8_000)] {
            let resampled = resampled(&[0.5; 3_000], from, to);
            let inner = resampled.get(100..resampled.len() - 100).unwrap();
            assert!(
                inner.iter().all(|value| (value - 0.5).abs() < 2e-3),
                "{from}"
            );
        }
    }

    #[test]
    fn a_tone_above_the_new_band_is_filtered_out() {
        let tone: Vec<f32> = (0..4_800)
            .map(|n| (n as f32 * 2.0 * PI * 11_000.0 / 48_000.0).sin())
            .collect();
        let resampled = resampled(&tone, 48_000, 16_000);
        let inner = resampled.get(100..resampled.len() - 100).unwrap();
        assert!(inner.iter().all(|value| value.abs() < 1e-2));
    }

    #[test]
    fn the_length_is_known_before() {
        let rates = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 767_999];
        for from in rates {
            for count in [1, 2, 99, 4_410, 100_001] {
                let found = resampled(&vec![0.5; count], from, 16_000).len();
                assert_eq!(found, length(count, from, 16_000), "{count} at {from}");
            }
        }
    }

    #[test]
    fn few_samples_are_enough() {
        assert_eq!(resampled(&[0.25], 16_000, 16_000), [0.25]);
        assert_eq!(resampled(&[0.25], 16_000, 8_000).len(), 1);
        assert_eq!(resampled(&[0.25], 1, 768_000).len(), 768_000);
        assert_eq!(resampled(&[0.25], 767_999, 768_000).len(), 2);
    }
}
