//! A linear layer with its bias, activation and residual, and its gradient.

use super::{
    Operand, Step, absent, any_recorded, contiguous, lifted, operand, record, slice, tensor, values,
};
use crate::{
    Activation, PackedMatrix,
    isa::{Isa, vectorized},
    math,
    matrix::Then,
    product::{self, Epilogue, Passing},
    threads,
};
use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;

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
        let some = |tensor: &FlexTensor| tensor.layout().shape().num_elements() > 0;
        let then = Epilogue {
            bias: some(&bias).then(|| slice(&bias)),
            activation,
            residual: some(&residual).then(|| slice(&residual)),
        };
        let (isa, keep) = (Isa::active(), activation.is_some());
        let [y, kept] = match &kind {
            Weight::Dense => {
                let matrix = Passing {
                    weight: slice(&weight),
                    turned: false,
                    outputs,
                    inputs,
                };
                matrix.linear(isa, slice(&x), &then, keep)
            }
            Weight::Packed(packed) if keep => {
                product::linear_keeping(isa, slice(&x), packed, &then)
            }
            Weight::Packed(packed) => [product::linear(isa, slice(&x), packed, &then), Vec::new()],
        };
        let kept = activation.map(|activation| (activation, tensor(kept, [rows, outputs])));
        let step = Layer {
            x,
            weight,
            kind,
            kept,
        };
        (tensor(y, shape), step)
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
                let parts = slopes.chunks_mut(PART).zip(slice(kept).chunks(PART));
                threads::each(parts, |(gradient, kept)| {
                    slope(isa, *activation, gradient, kept)
                });
                tensor(slopes, [rows, outputs])
            }
        };
        let inputs = self.x.layout().shape()[1];
        let of_weight = of_weight && matches!(self.kind, Weight::Dense);
        let (weight, bias) = if of_weight || of_bias {
            // A bias alone is summed as with a matrix of no columns.
            let (x, inputs) = match of_weight {
                true => (slice(&self.x), inputs),
                false => (&[] as &[f32], 0),
            };
            let [products, sums] = product::outer(isa, slice(&inner), x, [outputs, inputs]);
            (
                of_weight.then(|| tensor(products, [outputs, inputs])),
                of_bias.then(|| tensor(sums, [outputs])),
            )
        } else {
            (None, None)
        };
        let x = of_x.then(|| {
            let held;
            let weight = match &self.kind {
                Weight::Dense => slice(&self.weight),
                Weight::Packed(packed) => {
                    let mut values = vec![0f32; outputs * inputs];
                    let rows = values.chunks_mut(inputs.max(1)).enumerate();
                    threads::each(rows, |(output, row)| packed.read_row(output, row));
                    held = values;
                    &held
                }
            };
            let matrix = Passing {
                weight,
                turned: true,
                outputs: inputs,
                inputs: outputs,
            };
            let [x, _] = matrix.linear(isa, slice(&inner), &Epilogue::default(), false);
            let mut shape = shape.clone();
            let last = shape.num_dims() - 1;
            shape[last] = inputs;
            tensor(x, [rows, inputs]).reshape(shape)
        });
        [x, weight, bias, residual]
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
fn both(gradient: &mut [f32], inputs: &[f32], slope: impl Fn(f32) -> f32) {
    for (gradient, &input) in gradient.iter_mut().zip(inputs) {
        *gradient *= slope(input);
    }
}
