//! Layer norm and root-mean-square norm, and their gradients.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::{
    Operand, Step, absent, any_recorded, contiguous, kept::Kept, lifted, operand, record, slice,
    tensor,
};
use crate::kernel::{
    buffers::Floats,
    isa::{Isa, LANES, vectorized},
    norm, threads,
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
    let operands = [operand(input)?, operand(weight)?, operand(bias)?];
    Some(lifted(normalised(input.dims(), operands, Kind::Layer, eps)))
}

/// The input over the root of the mean of its squares over the last axis.
pub(crate) fn rms_norm<const D: usize>(
    input: &Tensor<D>,
    weight: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<D>> {
    if !any_recorded([input.device(), weight.device()]) {
        return None;
    }
    let operands = [operand(input)?, operand(weight)?, absent()];
    Some(lifted(normalised(
        input.dims(),
        operands,
        Kind::RootMeanSquare,
        eps,
    )))
}

/// What is taken off a row, and what is added behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its mean; and an offset is added.
    Layer,
    /// Nothing, and nothing is.
    RootMeanSquare,
}

/// Of input, scales and offsets.
fn normalised<const D: usize>(
    shape: [usize; D],
    operands: [Operand; 3],
    kind: Kind,
    eps: f64,
) -> Operand {
    record(operands, |[input, weight, bias]| {
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
            for (row, moments) in output.chunks_exact_mut(width).zip(moments) {
                *moments = match kind {
                    Kind::Layer => norm::layer_norm(isa, row, scales, slice(&bias), eps),
                    Kind::RootMeanSquare => norm::rms_norm(isa, row, scales, eps),
                };
            }
        });
        let step = Norm {
            kind,
            input: Kept::new(input),
            weight,
            moments,
        };
        (tensor(output, shape), step)
    })
}

#[derive(Debug, Clone)]
struct Norm {
    kind: Kind,
    input: Kept,
    weight: FlexTensor,
    /// Of each row what was taken off, and what the rest was multiplied by.
    moments: Vec<[f32; 2]>,
}

impl Step<3> for Norm {
    fn gradients(self, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let input = self.input.opened();
        let shape = input.layout().shape().clone();
        let (input, weight) = (slice(&input), slice(&self.weight));
        let width = weight.len().max(1);
        let gradient = contiguous(gradient);
        let (isa, centred) = (Isa::active(), self.kind == Kind::Layer);
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
            backward(isa, output, input, moments, weight, sums, centred);
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
            centred.then(|| tensor(offsets.to_vec(), [width])),
        ]
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
        centred: bool,
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
            let plain = if centred { plain.iter().sum::<f32>() / width as f32 } else { 0.0 };
            let along = along.iter().sum::<f32>() / width as f32;
            for (gradient, input) in gradient.iter_mut().zip(input) {
                let normal = (input - mean) * scale;
                *gradient = scale * (*gradient - plain - normal * along);
            }
        }
    }
}
