//! The mel filter bank: triangles over the frequencies of a transform.

use super::config::MelConfig;

/// One band: the weights of neighbouring frequencies; all others have none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl Band {
    /// The band's energy, of the power of each frequency.
    pub(super) fn energy(&self, power: &[f64]) -> f64 {
        let near = power.get(self.first..).unwrap_or_default();
        let products = self
            .weights
            .iter()
            .zip(near)
            .map(|(weight, power)| f64::from(*weight) * power);
        products.sum()
    }
}

/// The bands of a configuration: from 0 Hz to half the rate, evenly apart on HTK's mel scale, of which
/// each triangle reaches from its left neighbour's middle to its right one's, with the height 1.
///
/// Where `torchaudio` rounds to 32 bits, so does this: a weight near a triangle's foot would differ
/// else.
pub(super) fn bands(config: &MelConfig) -> Vec<Band> {
    let highest = config.sample_rate / 2;
    let bins = spread(0.0, highest as f32, config.n_fft / 2 + 1);
    let mels = spread(0.0, mel(f64::from(highest)) as f32, config.n_mels + 2);
    let corners: Vec<f32> = mels.into_iter().map(hertz).collect();
    let triples = corners.windows(3);
    triples
        .map(|corners| match corners {
            [left, middle, right] => triangle(&bins, [*left, *middle, *right]),
            _ => triangle(&bins, [0.0; 3]),
        })
        .collect()
}

/// One triangle over the frequencies `bins`, which rise.
fn triangle(bins: &[f32], [left, middle, right]: [f32; 3]) -> Band {
    let first = bins.partition_point(|bin| *bin <= left);
    let weight = |bin: &f32| {
        let rising = (bin - left) / (middle - left);
        let falling = (right - bin) / (right - middle);
        rising.min(falling).max(0.0)
    };
    let above = bins.get(first..).unwrap_or_default().iter();
    Band {
        first,
        weights: above.take_while(|bin| **bin < right).map(weight).collect(),
    }
}

/// A frequency in mel, by HTK's formula.
fn mel(hertz: f64) -> f64 {
    2595.0 * (1.0 + hertz / 700.0).log10()
}

/// The frequency of a number of mel.
fn hertz(mel: f32) -> f32 {
    let power = 10f64.powf(f64::from(mel / 2595.0)) as f32;
    700.0 * (power - 1.0)
}

/// Numbers from `start` to `end` at equal steps, counted from the nearer end.
fn spread(start: f32, end: f32, count: usize) -> Vec<f32> {
    let step = (end - start) / (count.max(2) - 1) as f32;
    let place = |n: usize| match n < count / 2 {
        true => start + step * n as f32,
        false => end - step * (count - n - 1) as f32,
    };
    (0..count).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_triangles_add_up_to_one() {
        let bands = bands(&MelConfig::default().with_n_mels(16));
        assert_eq!(bands.len(), 16);
        let mut sums = [0f32; 257];
        for band in &bands {
            for (place, weight) in band.weights.iter().enumerate() {
                assert!((0.0..=1.0).contains(weight));
                sums[band.first + place] += weight;
            }
        }
        // Between the middles of the first band and the last.
        for sum in &sums[5..200] {
            assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        }
    }

    #[test]
    fn more_bands_than_frequencies_leave_some_empty() {
        let config = MelConfig::default().with_n_fft(8).with_win_length(8);
        let bands = bands(&config);
        assert_eq!(bands.len(), 80);
        assert!(bands.iter().any(|band| band.weights.is_empty()));
        assert_eq!(bands[0].energy(&[1.0; 5]), 0.0);
    }
}
