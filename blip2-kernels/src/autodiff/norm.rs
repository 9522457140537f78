//! Layer norm and its gradient.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::{Step, any_recorded, contiguous, kept::Kept, lifted, operand, record, slice, tensor};
use crate::kernel::{
    buffers::Floats,
    isa::{Isa, LANES, vectorized},
    threads,
};

/// Rows that a thread takes at once.
const ROWS: usize = 64;

/// The input normalised over its last axis.
pub(crate) fn layer_norm<const D: usize>(
    input: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<D>> {
    if !any_recorded([input.device(), weight.device(), bias.device()]) {
        return None;
    }
    let shape = input.dims();
    let operands = [operand(input)?, operand(weight)?, operand(bias)?];
    let output = record(operands, |[input, weight, bias]| {
        let (values, scales) = (slice(&input), slice(&weight));
        let width = scales.len().max(1);
        let mut moments = vec![[0f32; 2]; values.len() / width];
        let mut output = Floats::any(values.len());
        let shares = values
            .chunks(ROWS * width)
            .zip(moments.chunks_mut(ROWS))
            .zip(output.chunks_mut(ROWS * width));
        let isa = Isa::active();
        threads::each(shares, |((rows, moments), output)| {
            output.copy_from_slice(rows);
            forward(isa, output, moments, scales, slice(&bias), eps);
        });
        let step = Norm {
            input: Kept::new(input),
            weight,
            moments,
        };
        (tensor(output, shape), step)
    });
    Some(lifted(output))
}

#[derive(Debug, Clone)]
struct Norm {
    input: Kept,
    weight: FlexTensor,
    /// Of each row the mean, and what its deviations were multiplied by.
    moments: Vec<[f32; 2]>,
}

impl Step<3> for Norm {
    fn gradients(self, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let input = self.input.opened();
        let shape = input.layout().shape().clone();
        let (input, weight) = (slice(&input), slice(&self.weight));
        let width = weight.len().max(1);
        let gradient = contiguous(gradient);
        let isa = Isa::active();
        // A sum for each share: all of them are added in one order, whoever was first.
        let mut sums = vec![0f32; self.moments.len().div_ceil(ROWS) * 2 * width];
        let mut of_input = Floats::any(input.len());
        let shares = slice(&gradient)
            .chunks(ROWS * width)
            .zip(input.chunks(ROWS * width))
            .zip(self.moments.chunks(ROWS))
            .zip(sums.chunks_mut(2 * width))
            .zip(of_input.chunks_mut(ROWS * width));
        threads::each(shares, |((((gradients, input), moments), sums), output)| {
            output.copy_from_slice(gradients);
            backward(isa, output, input, moments, weight, sums);
        });
        let mut total = vec![0f32; 2 * width];
        for sums in sums.chunks_exact(2 * width) {
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        let (scales, offsets) = total.split_at(width);
        [
            Some(tensor(of_input, [self.moments.len() * width]).reshape(shape)),
            Some(tensor(scales.to_vec(), [width])),
            Some(tensor(offsets.to_vec(), [width])),
        ]
    }
}

vectorized! {
    fn forward(rows: &mut [f32], moments: &mut [[f32; 2]], weight: &[f32], bias: &[f32], eps: f64) {
        let width = weight.len().max(1);
        for (row, moments) in rows.chunks_exact_mut(width).zip(moments) {
            let (mut sums, mut squares) = ([0f64; LANES], [0f64; LANES]);
            let (lanes, rest) = row.as_chunks::<LANES>();
            for x in lanes {
                for lane in 0..LANES {
                    sums[lane] += f64::from(x[lane]);
                }
            }
            let rest_sum: f64 = rest.iter().map(|&x| f64::from(x)).sum();
            let mean = (sums.iter().sum::<f64>() + rest_sum) / width as f64;
            for x in lanes {
                for lane in 0..LANES {
                    let centred = f64::from(x[lane]) - mean;
                    squares[lane] += centred * centred;
                }
            }
            let rest_square: f64 = rest.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
            let variance = (squares.iter().sum::<f64>() + rest_square) / width as f64;
            let (mean, scale) = (mean as f32, (variance + eps).sqrt().recip() as f32);
            *moments = [mean, scale];
            let shift = -scale * mean;
            for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                *x = (*x * scale + shift) * weight + bias;
            }
        }
    }
}

vectorized! {
    /// Turns the gradients of results into those of inputs, and adds those of the scales and of the
    /// offsets up.
    fn backward(
        gradients: &mut [f32],
        input: &[f32],
        moments: &[[f32; 2]],
        weight: &[f32],
        sums: &mut [f32],
    ) {
        let width = weight.len().max(1);
        let (scales, offsets) = sums.split_at_mut(width);
        let rows = gradients.chunks_exact_mut(width).zip(input.chunks_exact(width));
        for ((gradient, input), &[mean, scale]) in rows.zip(moments) {
            let (mut plain, mut along) = ([0f32; LANES], [0f32; LANES]);
            let all = gradient
                .chunks_mut(LANES)
                .zip(input.chunks(LANES))
                .zip(weight.chunks(LANES))
                .zip(scales.chunks_mut(LANES).zip(offsets.chunks_mut(LANES)));
            for (((gradient, input), weight), (scales, offsets)) in all {
                let places = gradient.iter_mut().zip(input).zip(weight);
                let sums = scales.iter_mut().zip(offsets).zip(&mut plain).zip(&mut along);
                for (((own, input), weight), (((of_scale, of_offset), plain), along)) in places.zip(sums) {
                    let normal = (input - mean) * scale;
                    *of_scale += *own * normal;
                    *of_offset += *own;
                    *own *= weight;
                    *plain += *own;
                    *along += *own * normal;
                }
            }
            let plain = plain.iter().sum::<f32>() / width as f32;
            let along = along.iter().sum::<f32>() / width as f32;
            for (gradient, input) in gradient.iter_mut().zip(input) {
                let normal = (input - mean) * scale;
                *gradient = scale * (*gradient - plain - normal * along);
            }
        }
    }
}
