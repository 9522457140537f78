//! Layer norm and its gradient.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{Step, any_recorded, contiguous, lifted, operand, record, slice, tensor, values};
use crate::isa::{Isa, LANES, vectorized};

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
        let width = slice(&weight).len().max(1);
        let mut output = slice(&input).to_vec();
        let rows = output.len() / width;
        let mut moments = vec![[0f32; 2]; rows];
        let isa = Isa::active();
        output
            .par_chunks_mut(ROWS * width)
            .zip(moments.par_chunks_mut(ROWS))
            .for_each(|(rows, moments)| {
                forward(isa, rows, moments, slice(&weight), slice(&bias), eps)
            });
        let step = Norm {
            input,
            weight,
            moments,
        };
        (tensor(output, shape), step)
    });
    Some(lifted(output))
}

#[derive(Debug, Clone)]
struct Norm {
    input: FlexTensor,
    weight: FlexTensor,
    /// Of each row the mean, and what its deviations were multiplied by.
    moments: Vec<[f32; 2]>,
}

impl Step<3> for Norm {
    fn gradients(self, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let shape = self.input.layout().shape().clone();
        let (input, weight) = (slice(&self.input), slice(&self.weight));
        let width = weight.len().max(1);
        let mut of_input = values(contiguous(gradient));
        let isa = Isa::active();
        let of_weight = of_input
            .par_chunks_mut(ROWS * width)
            .zip(input.par_chunks(ROWS * width))
            .zip(self.moments.par_chunks(ROWS))
            .map(|((gradients, input), moments)| {
                let mut sums = vec![0f32; 2 * width];
                backward(isa, gradients, input, moments, weight, &mut sums);
                sums
            })
            .reduce(
                || vec![0f32; 2 * width],
                |mut sums, others| {
                    for (sum, other) in sums.iter_mut().zip(others) {
                        *sum += other;
                    }
                    sums
                },
            );
        let (scales, offsets) = of_weight.split_at(width);
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
    fn backward(gradients: &mut [f32], input: &[f32], moments: &[[f32; 2]], weight: &[f32], sums: &mut [f32]) {
        let width = weight.len().max(1);
        let (scales, offsets) = sums.split_at_mut(width);
        let rows = gradients.chunks_exact_mut(width).zip(input.chunks_exact(width));
        for ((gradient, input), &[mean, scale]) in rows.zip(moments) {
            let (mut plain, mut along) = ([0f32; LANES], [0f32; LANES]);
            for place in 0..width {
                let normal = (input[place] - mean) * scale;
                let own = gradient[place];
                scales[place] += own * normal;
                offsets[place] += own;
                let weighted = own * weight[place];
                gradient[place] = weighted;
                plain[place % LANES] += weighted;
                along[place % LANES] += weighted * normal;
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
