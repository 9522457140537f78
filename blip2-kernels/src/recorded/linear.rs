//! A linear layer with its bias, activation and residual, and its gradient.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;

use super::{
    Operand, Step, absent, any_recorded, contiguous, lifted, operand, record, slice, tensor,
};
use crate::{
    Activation, PackedMatrix,
    isa::Isa,
    matrix::Then,
    product::{self, Backward, Epilogue, Passing},
    recycle::Floats,
    threads,
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
            Weight::Packed(packed) => product::linear_keeping(isa, slice(&x), packed, &then, keep),
        };
        let kept = activation.map(|activation| (activation, Arc::new(kept)));
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

#[derive(Debug, Clone)]
struct Layer {
    /// `[rows, in]`
    x: FlexTensor,
    /// `[out, in]`; nothing of a packed matrix.
    weight: FlexTensor,
    kind: Weight,
    /// What the activation was applied to, `[rows, out]`.
    kept: Option<(Activation, Arc<Floats>)>,
}

impl Step<4> for Layer {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let [of_x, of_weight, of_bias, of_residual] = wanted;
        let gradient = contiguous(gradient);
        let shape = gradient.layout().shape().clone();
        let rows = self.x.layout().shape()[0];
        let outputs = slice(&gradient).len() / rows.max(1);
        let residual = of_residual.then(|| gradient.clone());
        let inputs = self.x.layout().shape()[1];
        let unpacked;
        let weight = match &self.kind {
            _ if !of_x => None,
            Weight::Dense => Some(slice(&self.weight)),
            Weight::Packed(packed) => {
                let mut values = vec![0f32; outputs * inputs];
                let rows = values.chunks_mut(inputs.max(1)).enumerate();
                threads::each(rows, |(output, row)| packed.read_row(output, row));
                unpacked = values;
                Some(unpacked.as_slice())
            }
        };
        let kept = self.kept.as_ref();
        let backward = Backward {
            isa: Isa::active(),
            gradient: slice(&gradient),
            kept: kept.map(|(activation, kept)| (*activation, &***kept)),
            x: slice(&self.x),
            weight,
            inputs,
            outputs,
            wants: [of_weight && matches!(self.kind, Weight::Dense), of_bias],
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
