//! Norms of a row, in place; each says what it took off and what it multiplied the rest by. Sums are in 64 bits: that costs no time that shows, and errors of a norm pass
//! through everything behind it.

use super::isa::{LANES, vectorized};

vectorized! {
    /// Layer norm: `(x − mean) / sqrt(var + eps) · weight + bias`.
    pub(crate) fn layer_norm(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f64) -> [f32; 2] {
        let (mut sums, mut squares) = ([0f64; LANES], [0f64; LANES]);
        let (lanes, rest) = row.as_chunks::<LANES>();
        for x in lanes {
            for lane in 0..LANES {
                sums[lane] += f64::from(x[lane]);
            }
        }
        let rest_sum: f64 = rest.iter().map(|&x| f64::from(x)).sum();
        let mean = (sums.iter().sum::<f64>() + rest_sum) / row.len() as f64;
        for x in lanes {
            for lane in 0..LANES {
                let centred = f64::from(x[lane]) - mean;
                squares[lane] += centred * centred;
            }
        }
        let rest_square: f64 = rest.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
        let variance = (squares.iter().sum::<f64>() + rest_square) / row.len() as f64;
        let (mean, scale) = (mean as f32, (variance + eps).sqrt().recip() as f32);
        // PyTorch's way to write it, whose rounding is then ours too.
        let shift = -scale * mean;
        for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
            *x = (*x * scale + shift) * weight + bias;
        }
        [mean, scale]
    }
}

vectorized! {
    /// Root-mean-square norm: `x / sqrt(mean(x²) + eps) · weight`.
    pub(crate) fn rms_norm(row: &mut [f32], weight: &[f32], eps: f64) -> [f32; 2] {
        let mut squares = [0f64; LANES];
        let (lanes, rest) = row.as_chunks::<LANES>();
        for x in lanes {
            for lane in 0..LANES {
                squares[lane] += f64::from(x[lane]) * f64::from(x[lane]);
            }
        }
        let rest: f64 = rest.iter().map(|&x| f64::from(x).powi(2)).sum();
        let mean_square = (squares.iter().sum::<f64>() + rest) / row.len() as f64;
        // Rounded as the reference does, which multiplies by it in `f32`.
        let inverse = (mean_square + eps).sqrt().recip() as f32;
        for (x, weight) in row.iter_mut().zip(weight) {
            *x = *x * inverse * weight;
        }
        [0.0, inverse]
    }
}
