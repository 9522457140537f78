//! Layers on the plain `flex` backend, by kernels: from tensors to slices and back.
//!
//! Each function answers `None` for tensors that are elsewhere.

mod attention;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

pub(super) use attention::attention;

use super::TensorEpilogue;
use crate::{
    kernel::{
        activation::{Activation, apply_to_all},
        flex,
        isa::Isa,
        norm,
        product::{self, epilogue::SliceEpilogue},
        threads,
    },
    matrix::{Affine, Matrix},
};

/// Fewer numbers are changed sooner than other threads are woken.
const LARGE: usize = 1 << 16;

/// As [`super::linear`].
pub(super) fn linear<const D: usize>(
    x: &Tensor<D>,
    matrix: &Matrix,
    epilogue: &TensorEpilogue<D>,
) -> Option<Tensor<D>> {
    let packed = matrix.as_packed()?;
    let mut shape = x.dims();
    let x = flex::lower(x)?;
    let bias = lower(epilogue.bias.as_ref())?;
    let residual = lower(epilogue.residual.as_ref())?;
    let epilogue = SliceEpilogue {
        bias: bias.as_ref().map(flex::slice),
        activation: epilogue.activation,
        residual: residual.as_ref().map(flex::slice),
    };
    let y = product::linear(Isa::active(), flex::slice(&x), packed.panels(), &epilogue);
    shape[D - 1] = packed.outputs();
    Some(flex::lift(y, shape))
}

/// As [`super::linears`]: rows are rounded once. `None` also for matrices that are not held alike, each of which
/// rounds them in its own way.
pub(super) fn linears<const N: usize, const D: usize>(
    x: &Tensor<D>,
    layers: &[Affine<'_>; N],
) -> Option<[Tensor<D>; N]> {
    let results = products(x, layers, None)?;
    let mut outputs = layers.iter().map(|layer| layer.matrix.outputs());
    Some(results.map(|y| {
        let mut shape = x.dims();
        shape[D - 1] = outputs.next().unwrap_or_default();
        flex::lift(y, shape)
    }))
}

/// As [`super::gated`]; `None` as of [`linears`].
pub(super) fn gated<const D: usize>(
    x: &Tensor<D>,
    layers: &[Affine<'_>; 2],
    activation: Activation,
) -> Option<Tensor<D>> {
    let [outputs, other] = layers.each_ref().map(|layer| layer.matrix.outputs());
    if outputs != other {
        return None;
    }
    let [mut gated, up] = products(x, layers, Some(activation))?;
    multiply(&mut gated, &up);
    let mut shape = x.dims();
    shape[D - 1] = outputs;
    Some(flex::lift(gated, shape))
}

/// The products of `x` with the layers' matrices and what follows them, the activation of the first alone.
fn products<const N: usize, const D: usize>(
    x: &Tensor<D>,
    layers: &[Affine<'_>; N],
    activation: Option<Activation>,
) -> Option<[Vec<f32>; N]> {
    let mut matrices = Vec::with_capacity(N);
    for layer in layers {
        matrices.push((
            layer.matrix.as_packed()?.panels(),
            lower(layer.bias.as_ref())?,
        ));
    }
    let shape = matrices.first()?.0.shape();
    if !matrices
        .iter()
        .all(|(matrix, _)| matrix.shape().reads_like(&shape))
    {
        return None;
    }
    let x = flex::lower(x)?;
    let layers = std::array::from_fn(|n| {
        let (matrix, bias) = &matrices[n];
        let epilogue = SliceEpilogue {
            bias: bias.as_ref().map(flex::slice),
            activation: activation.filter(|_| n == 0),
            residual: None,
        };
        (*matrix, epilogue)
    });
    Some(product::linears(Isa::active(), flex::slice(&x), layers))
}

/// Multiplies each number by the other in its place; many of them on all threads.
fn multiply(values: &mut [f32], others: &[f32]) {
    /// Numbers that are taken at once.
    const PART: usize = 1 << 14;
    let product = |(values, others): (&mut [f32], &[f32])| {
        for (value, other) in values.iter_mut().zip(others) {
            *value *= other;
        }
    };
    match values.len() {
        ..LARGE => product((values, others)),
        _ => threads::each(values.chunks_mut(PART).zip(others.chunks(PART)), product),
    }
}

/// As [`super::mlp`]: some rows pass both layers at a time.
pub(super) fn mlp<const D: usize>(
    x: &Tensor<D>,
    [first, second]: [&Affine<'_>; 2],
    activation: Activation,
    residual: &Tensor<D>,
) -> Option<Tensor<D>> {
    let (first_matrix, second_matrix) = (first.matrix.as_packed()?, second.matrix.as_packed()?);
    let (x, shape) = (flex::lower(x)?, residual.dims());
    let residual = flex::lower(residual)?;
    let biases = [lower(first.bias.as_ref())?, lower(second.bias.as_ref())?];
    let [first_bias, second_bias] = biases.each_ref().map(|bias| bias.as_ref().map(flex::slice));
    let layers = [
        (first_matrix.panels(), first_bias),
        (second_matrix.panels(), second_bias),
    ];
    let (x, residual) = (flex::slice(&x), flex::slice(&residual));
    let y = product::mlp::mlp(Isa::active(), x, layers, activation, residual);
    Some(flex::lift(y, shape))
}

/// As [`super::activation`].
pub(super) fn activation<const D: usize>(function: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    let shape = x.dims();
    let mut y = flex::slice(&flex::lower(x)?).to_vec();
    apply_to_all(Isa::active(), function, &mut y);
    Some(flex::lift(y, shape))
}

/// As [`super::layer_norm`].
pub(super) fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<D>> {
    let (x, shape) = (flex::lower(x)?, x.dims());
    let (weight, bias) = (flex::lower(weight)?, flex::lower(bias)?);
    let (weight, bias) = (flex::slice(&weight), flex::slice(&bias));
    let y = each_row(flex::slice(&x), weight.len(), |row| {
        norm::layer_norm(Isa::active(), row, weight, bias, eps);
    });
    Some(flex::lift(y, shape))
}

/// As [`super::rms_norm`].
pub(super) fn rms_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<D>> {
    let (x, shape) = (flex::lower(x)?, x.dims());
    let weight = flex::lower(weight)?;
    let weight = flex::slice(&weight);
    let y = each_row(flex::slice(&x), weight.len(), |row| {
        norm::rms_norm(Isa::active(), row, weight, eps);
    });
    Some(flex::lift(y, shape))
}

/// A copy of rows of `width`, each of which has been changed; many of them on all threads.
fn each_row(x: &[f32], width: usize, change: impl Fn(&mut [f32]) + Send + Sync) -> Vec<f32> {
    /// Rows that are taken at once.
    const ROWS: usize = 16;
    let (mut y, width) = (x.to_vec(), width.max(1));
    match y.len() {
        ..LARGE => y.chunks_exact_mut(width).for_each(change),
        _ => threads::each(y.chunks_mut(ROWS * width), |rows| {
            rows.chunks_exact_mut(width).for_each(&change);
        }),
    }
    y
}

/// The elements of a tensor that may not be there; `None` where it is there and elsewhere.
fn lower<const D: usize>(tensor: Option<&Tensor<D>>) -> Option<Option<FlexTensor>> {
    match tensor {
        Some(tensor) => flex::lower(tensor).map(Some),
        None => Some(None),
    }
}
