//! A linear layer with its bias, activation and residual, and its gradient.

use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{
    Operand, Step, absent, any_recorded, contiguous, lifted, lowered, operand, plain, record,
    slice, tensor, values,
};
use crate::{
    Activation, PackedMatrix,
    isa::{Isa, vectorized},
    math,
    matrix::Then,
    product,
};

/// What multiplies the input.
#[derive(Debug, Clone)]
enum Weight {
    /// A tensor, which may want a gradient.
    Dense,
    /// A packed matrix, which stays as it is.
    Packed(PackedMatrix),
}

/// `residual + activation(x · Wᵀ + bias)` with `W` a tensor `[out, in]`.
pub(crate) fn linear<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    then: &Then<D>,
) -> Option<Tensor<D>> {
    let [outputs, _] = weight.dims();
    layer(
        x,
        (operand(weight)?, Some(weight.device())),
        Weight::Dense,
        outputs,
        then,
    )
}

/// The same with a packed matrix.
pub(crate) fn packed<const D: usize>(
    x: &Tensor<D>,
    weight: &PackedMatrix,
    then: &Then<D>,
) -> Option<Tensor<D>> {
    let outputs = weight.outputs();
    layer(
        x,
        (absent(), None),
        Weight::Packed(weight.clone()),
        outputs,
        then,
    )
}

fn layer<const D: usize>(
    x: &Tensor<D>,
    (weight, weight_device): (Operand, Option<Device>),
    kind: Weight,
    outputs: usize,
    then: &Then<D>,
) -> Option<Tensor<D>> {
    let devices = [
        Some(x.device()),
        weight_device,
        then.bias.as_ref().map(Tensor::device),
    ];
    let residual_device = then.residual.as_ref().map(Tensor::device);
    if !any_recorded(devices.into_iter().chain([residual_device]).flatten()) {
        return None;
    }
    let mut shape = x.dims();
    let inputs = shape[D - 1];
    let rows = shape[..D - 1].iter().product::<usize>();
    shape[D - 1] = outputs;
    let bias = match &then.bias {
        Some(bias) => operand(bias)?,
        None => absent(),
    };
    let residual = match &then.residual {
        Some(residual) => operand(residual)?,
        None => absent(),
    };
    let activation = then.activation;
    let operands = [operand(x)?, weight, bias, residual];
    let output = record(operands, |[x, weight, bias, residual]| {
        let x = x.reshape([rows, inputs].into());
        let isa = Isa::active();
        let mut sums = match &kind {
            Weight::Dense => {
                let product = plain::<2>(x.clone()).matmul(plain::<2>(weight.clone()).transpose());
                lowered(product).map_or_else(Vec::new, values)
            }
            Weight::Packed(packed) => {
                product::linear(isa, slice(&x), packed, &product::Epilogue::default())
            }
        };
        let (offsets, residuals) = (slice(&bias), slice(&residual));
        let part = PART.div_ceil(outputs.max(1)).max(1) * outputs.max(1);
        let residuals_of = |index: usize| {
            let start = (index * part).min(residuals.len());
            &residuals[start..(start + part).min(residuals.len())]
        };
        let mut kept = Vec::new();
        if let Some(activation) = activation {
            sums.par_chunks_mut(part)
                .for_each(|sums| finish(isa, sums, offsets, &[]));
            kept = sums.par_iter().copied().collect();
            sums.par_chunks_mut(part)
                .enumerate()
                .for_each(|(index, sums)| {
                    activate(isa, activation, sums);
                    finish(isa, sums, &[], residuals_of(index));
                });
        } else {
            sums.par_chunks_mut(part)
                .enumerate()
                .for_each(|(index, sums)| {
                    finish(isa, sums, offsets, residuals_of(index));
                });
        }
        let kept = activation.map(|activation| (activation, tensor(kept, [rows, outputs])));
        let step = Layer {
            x,
            weight,
            kind,
            kept,
        };
        (tensor(sums, shape), step)
    });
    Some(lifted(output))
}

/// Elements that a thread takes at once.
const PART: usize = 1 << 14;

#[derive(Debug, Clone)]
struct Layer {
    /// `[rows, in]`
    x: FlexTensor,
    /// `[out, in]`; nothing of a packed matrix.
    weight: FlexTensor,
    kind: Weight,
    /// What the activation was applied to, `[rows, out]`.
    kept: Option<(Activation, FlexTensor)>,
}

impl Step<4> for Layer {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let [of_x, of_weight, of_bias, of_residual] = wanted;
        let gradient = contiguous(gradient);
        let shape = gradient.layout().shape().clone();
        let rows = self.x.layout().shape()[0];
        let outputs = slice(&gradient).len() / rows.max(1);
        let residual = of_residual.then(|| gradient.clone());
        let isa = Isa::active();
        let inner = match &self.kept {
            None => gradient.reshape([rows, outputs].into()),
            Some((activation, kept)) => {
                let mut slopes = values(gradient);
                slopes
                    .par_chunks_mut(PART)
                    .zip(slice(kept).par_chunks(PART))
                    .for_each(|(gradient, kept)| slope(isa, *activation, gradient, kept));
                tensor(slopes, [rows, outputs])
            }
        };
        let bias = of_bias.then(|| {
            let part = PART.div_ceil(outputs.max(1)).max(1) * outputs.max(1);
            let sums = slice(&inner).par_chunks(part).map(|rows| {
                let mut sums = vec![0f32; outputs];
                for row in rows.chunks_exact(outputs.max(1)) {
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum += value;
                    }
                }
                sums
            });
            let sums = sums.reduce(
                || vec![0f32; outputs],
                |mut sums, others| {
                    for (sum, other) in sums.iter_mut().zip(others) {
                        *sum += other;
                    }
                    sums
                },
            );
            tensor(sums, [outputs])
        });
        let weight = match (&self.kind, of_weight) {
            (Weight::Dense, true) => {
                let left = plain::<2>(inner.clone()).transpose();
                lowered(left.matmul(plain::<2>(self.x.clone())))
            }
            _ => None,
        };
        let x = of_x.then(|| {
            let inputs = self.x.layout().shape()[1];
            let weight = match &self.kind {
                Weight::Dense => self.weight.clone(),
                Weight::Packed(packed) => {
                    let mut values = vec![0f32; outputs * inputs];
                    values
                        .par_chunks_mut(inputs.max(1))
                        .enumerate()
                        .for_each(|(output, row)| packed.read_row(output, row));
                    tensor(values, [outputs, inputs])
                }
            };
            let mut shape = shape.clone();
            let last = shape.num_dims() - 1;
            shape[last] = inputs;
            let product = plain::<2>(inner.clone()).matmul(plain::<2>(weight));
            lowered(product).map(|tensor| tensor.reshape(shape))
        });
        [x.flatten(), weight, bias, residual]
    }
}

vectorized! {
    /// Adds a bias to each row, and a residual.
    fn finish(values: &mut [f32], bias: &[f32], residual: &[f32]) {
        if !bias.is_empty() {
            for row in values.chunks_exact_mut(bias.len()) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
        }
        for (value, residual) in values.iter_mut().zip(residual) {
            *value += residual;
        }
    }
}

vectorized! {
    fn activate(activation: Activation, values: &mut [f32]) {
        match activation {
            Activation::Gelu => each(values, |x| 0.5 * x * (1.0 + math::erf(x * FRAC_1_SQRT_2))),
            Activation::GeluTanh => each(values, |x| x * math::sigmoid(2.0 * tanh_argument(x))),
            Activation::QuickGelu => each(values, |x| x * math::sigmoid(1.702 * x)),
            Activation::Relu => each(values, |x| x.max(0.0)),
            Activation::Silu => each(values, |x| x * math::sigmoid(x)),
        }
    }
}

vectorized! {
    /// Multiplies gradients by the activation's slope.
    fn slope(activation: Activation, gradient: &mut [f32], inputs: &[f32]) {
        match activation {
            Activation::Gelu => both(gradient, inputs, |x| {
                let density = FRAC_1_SQRT_TAU * math::exp(-0.5 * x * x);
                0.5 * (1.0 + math::erf(x * FRAC_1_SQRT_2)) + x * density
            }),
            Activation::GeluTanh => both(gradient, inputs, |x| {
                let share = math::sigmoid(2.0 * tanh_argument(x));
                let inner = SQRT_2_PI * (1.0 + 3.0 * CUBIC * x * x);
                share + 2.0 * x * share * (1.0 - share) * inner
            }),
            Activation::QuickGelu => both(gradient, inputs, |x| {
                let share = math::sigmoid(1.702 * x);
                share + 1.702 * x * share * (1.0 - share)
            }),
            Activation::Relu => both(gradient, inputs, |x| if x > 0.0 { 1.0 } else { 0.0 }),
            Activation::Silu => both(gradient, inputs, |x| {
                let share = math::sigmoid(x);
                share + x * share * (1.0 - share)
            }),
        }
    }
}

const FRAC_1_SQRT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// 1 / √(2π)
const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;
/// √(2 / π)
const SQRT_2_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

#[inline(always)]
fn tanh_argument(x: f32) -> f32 {
    SQRT_2_PI * (x + CUBIC * x * x * x)
}

#[inline(always)]
fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in values {
        *value = function(*value);
    }
}

#[inline(always)]
fn both(gradient: &mut [f32], inputs: &[f32], slope: impl Fn(f32) -> f32) {
    for (gradient, &input) in gradient.iter_mut().zip(inputs) {
        *gradient *= slope(input);
    }
}
