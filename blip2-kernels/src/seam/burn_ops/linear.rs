//! Linear layers by Burn's operations.

use burn::tensor::{DType, Tensor, module};

use crate::{
    matrix::Matrix,
    seam::{TensorEpilogue, widened},
};

/// The rows that are summed in 64 bits at a time.
const EXACT_ROWS: usize = 1024;

/// As [`linear`](crate::seam::linear).
pub(crate) fn linear<const D: usize>(
    x: Tensor<D>,
    matrix: &Matrix,
    epilogue: TensorEpilogue<D>,
) -> Tensor<D> {
    let weight = widened(matrix, &x.device());
    let y = product(x, weight, epilogue.bias);
    let y = match epilogue.activation {
        Some(function) => super::activation(function, y),
        None => y,
    };
    match epilogue.residual {
        Some(residual) => residual + y,
        None => y,
    }
}

/// `x · Wᵀ + b` on the last axis, with all others folded into one: for a single sequence of rank 3
/// Flex takes many times as long as for the same rows of rank 2.
fn product<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut shape = input.dims();
    let (width, [d_output, _]) = (shape[D - 1], weight.dims());
    let rows = shape[..D - 1].iter().product();
    let output = module::linear::<2>(input.reshape([rows, width]), weight.transpose(), bias);
    shape[D - 1] = d_output;
    output.reshape(shape)
}

/// As [`linear_exact`](crate::seam::linear_exact), where the device has floats of 64 bits.
pub(crate) fn linear_exact<const D: usize>(
    x: &Tensor<D>,
    weight: Tensor<2>,
    bias: Option<&Tensor<1>>,
) -> Option<Tensor<D>> {
    if !x.device().supports_dtype(DType::F64) {
        return None;
    }
    let mut shape = x.dims();
    let (width, rows) = (shape[D - 1], shape[..D - 1].iter().product::<usize>());
    shape[D - 1] = weight.dims()[0];
    let bias = bias.map(|bias| bias.clone().cast(DType::F64));
    let weight = weight.cast(DType::F64).transpose();
    let x = x.clone().reshape([rows, width]);
    // Some rows at a time, so that not all are there in 64 bits.
    let blocks = rows.div_ceil(EXACT_ROWS).max(1);
    let blocks = (0..blocks).map(|n| n * rows / blocks..(n + 1) * rows / blocks);
    let outputs = blocks.map(|block| {
        let x = x.clone().slice([block]).cast(DType::F64);
        module::linear::<2>(x, weight.clone(), bias.clone()).cast(DType::F32)
    });
    Some(Tensor::cat(outputs.collect(), 0).reshape(shape))
}
