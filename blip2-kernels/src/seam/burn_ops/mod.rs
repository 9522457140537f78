//! Layers by Burn's own operations, which serve every device, and gradients on each.

mod attention;
pub(crate) mod cache;
mod linear;

use burn::tensor::{DType, Device, Int, Tensor, activation as functions, module};

pub(super) use attention::attention;
pub(super) use linear::{linear, linear_exact};

use crate::{kernel::activation::Activation, matrix::packed::PackedMatrix};

/// As [`super::lookup`] of a tensor.
pub(super) fn lookup(table: Tensor<2>, indices: Tensor<2, Int>) -> Tensor<3> {
    let rows = module::embedding(table, indices);
    match rows.dtype() {
        DType::F32 => rows,
        _ => rows.cast(DType::F32),
    }
}

/// As [`super::lookup`] of a matrix that is held packed, by the host.
pub(super) fn lookup_packed(table: &PackedMatrix, indices: Tensor<2, Int>) -> Tensor<3> {
    let ([batch, seq], device) = (indices.dims(), indices.device());
    let indices: Vec<usize> = indices
        .into_data()
        .iter::<i64>()
        .map(|index| index as usize)
        .collect();
    rows(table, &indices, &device).reshape([batch, seq, table.inputs()])
}

/// The rows `indices` of a packed matrix, `[indices, inputs]`.
fn rows(packed: &PackedMatrix, indices: &[usize], device: &Device) -> Tensor<2> {
    let inputs = packed.inputs();
    let mut values = vec![0.0; indices.len() * inputs];
    for (row, &index) in values.chunks_exact_mut(inputs.max(1)).zip(indices) {
        packed.read_row(index, row);
    }
    let data = burn::tensor::TensorData::new(values, [indices.len(), inputs]);
    Tensor::from_data(data, (device, DType::F32))
}

/// As [`super::activation`].
pub(super) fn activation<const D: usize>(function: Activation, x: Tensor<D>) -> Tensor<D> {
    match function {
        // The gradient that Burn gives its own GELU is that of the approximation by tanh.
        Activation::Gelu if x.device().is_autodiff() => {
            let errors = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf();
            x * (errors + 1.0) * 0.5
        }
        Activation::Gelu => functions::gelu(x),
        Activation::GeluTanh => functions::gelu_approximate(x),
        Activation::QuickGelu => x.clone() * functions::sigmoid(x * 1.702),
        Activation::Relu => functions::relu(x),
        Activation::Silu => functions::silu(x),
    }
}

/// As [`super::rms_norm`].
pub(super) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let mean_square = x.clone().square().mean_dim(D - 1);
    x / (mean_square + eps).sqrt() * weight.unsqueeze::<D>()
}
