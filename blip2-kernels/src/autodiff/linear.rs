//! A linear layer with its bias, activation and residual, and its gradient.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::{
    Operand, Step, absent, any_recorded, contiguous, is_tracked,
    kept::{ActivationFormat, Kept, KeptFloats},
    lifted, operand, record, slice, tensor,
};
use crate::{
    kernel::{
        activation::Activation,
        isa::Isa,
        product::{
            backward::{Backward, Through},
            epilogue::{Epilogue, SliceEpilogue},
            transient::{TransientMatrix, linear_keeping},
        },
    },
    matrix::{
        Matrix,
        packed::{PackedFormat, PackedMatrix},
    },
};

/// What multiplies the input.
#[derive(Debug, Clone)]
enum Weight {
    /// A tensor, which may want a gradient.
    Dense,
    /// A packed matrix, which stays as it is.
    Packed(PackedMatrix),
}

/// `residual + activation(x · Wᵀ + bias)`; `None` where nothing is recorded, or not on `flex`.
pub(crate) fn linear<const D: usize>(
    x: &Tensor<D>,
    matrix: &Matrix,
    epilogue: &Epilogue<Tensor<1>, Tensor<D>>,
) -> Option<Tensor<D>> {
    let Epilogue {
        bias,
        activation,
        residual,
    } = epilogue;
    let (activation, outputs) = (*activation, matrix.outputs());
    let (mut device, mut keeps) = (None, false);
    let (weight, kind) = match matrix {
        Matrix::Dense(weight) => {
            let weight = weight.val();
            // A matrix that stays as it is has no gradient, for which alone the input would be kept.
            (device, keeps) = (Some(weight.device()), is_tracked(&weight));
            (operand(&weight)?, Weight::Dense)
        }
        Matrix::Packed(packed) => (absent(), Weight::Packed(packed.clone())),
        Matrix::OnDevice(_) => return None,
    };
    let devices = [
        Some(x.device()),
        device,
        bias.as_ref().map(Tensor::device),
        residual.as_ref().map(Tensor::device),
    ];
    if !any_recorded(devices.into_iter().flatten()) {
        return None;
    }
    let mut shape = x.dims();
    let inputs = shape[D - 1];
    let rows = shape[..D - 1].iter().product::<usize>();
    shape[D - 1] = outputs;
    let operands = [operand(x)?, weight, optional(bias)?, optional(residual)?];
    let output = record(operands, |[x, weight, bias, residual]| {
        let x = x.reshape([rows, inputs].into());
        let epilogue = SliceEpilogue {
            bias: present(&bias),
            activation,
            residual: present(&residual),
        };
        let (isa, keep) = (Isa::active(), activation.is_some());
        let [y, kept] = match &kind {
            Weight::Dense => {
                let matrix = TransientMatrix {
                    weight: slice(&weight),
                    transposed: false,
                    outputs,
                    inputs,
                };
                matrix.linear(isa, slice(&x), &epilogue, keep)
            }
            Weight::Packed(packed) => {
                linear_keeping(isa, slice(&x), packed.panels(), &epilogue, keep)
            }
        };
        let kept = activation.map(|function| (function, KeptFloats::before(function, kept)));
        let step = Layer {
            x: keeps.then(|| Kept::new(x)),
            inputs,
            weight,
            kind,
            kept,
            format: ActivationFormat::current(),
        };
        (tensor(y, shape), step)
    });
    Some(lifted(output))
}

/// An operand that may not be there.
fn optional<const D: usize>(tensor: &Option<Tensor<D>>) -> Option<Operand> {
    match tensor {
        Some(tensor) => operand(tensor),
        None => Some(absent()),
    }
}

/// The elements of an operand that is there.
fn present(tensor: &FlexTensor) -> Option<&[f32]> {
    (tensor.layout().shape().num_elements() > 0).then(|| slice(tensor))
}

impl Weight {
    /// Whether it is held in fewer bits than `f32` has, so that nothing is lost by few in a product with it.
    fn is_narrow(&self) -> bool {
        matches!(self, Self::Packed(packed) if packed.format() != PackedFormat::F32)
    }
}

#[derive(Debug, Clone)]
struct Layer {
    /// `[rows, in]`, if the matrix's gradient is wanted.
    x: Option<Kept>,
    inputs: usize,
    /// `[out, in]`; nothing of a packed matrix.
    weight: FlexTensor,
    kind: Weight,
    /// What the activation was applied to, `[rows, out]`.
    kept: Option<(Activation, KeptFloats)>,
    format: ActivationFormat,
}

impl Step<4> for Layer {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let [of_x, of_weight, of_bias, of_residual] = wanted;
        let gradient = contiguous(gradient);
        let shape = gradient.layout().shape().clone();
        let outputs = shape[shape.num_dims() - 1];
        let rows = slice(&gradient).len() / outputs.max(1);
        let residual = of_residual.then(|| gradient.clone());
        let inputs = self.inputs;
        let in_bf16 = self.format == ActivationFormat::Bf16 && self.kind.is_narrow();
        let weight = of_x.then(|| match &self.kind {
            Weight::Dense => Through::Dense(slice(&self.weight)),
            Weight::Packed(packed) => Through::Packed(packed.panels(), in_bf16),
        });
        let kept = self.kept.as_ref();
        let kept = kept.map(|(activation, kept)| (*activation, kept.opened()));
        let x = self.x.filter(|_| of_weight).map(|x| x.opened());
        let backward = Backward {
            isa: Isa::active(),
            gradient: slice(&gradient),
            kept: kept
                .as_ref()
                .map(|(activation, kept)| (*activation, &**kept)),
            x: x.as_ref().map(slice),
            weight,
            inputs,
            outputs,
            of_bias,
        };
        let found = backward.run();
        let x = found.x.map(|x| {
            let mut shape = shape;
            let last = shape.num_dims() - 1;
            shape[last] = inputs;
            tensor(x, [rows, inputs]).reshape(shape)
        });
        let weight = found.weight.map(|values| tensor(values, [outputs, inputs]));
        let bias = found.bias.map(|values| tensor(values, [outputs]));
        [x, weight, bias, residual]
    }
}
