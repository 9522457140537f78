//! Many rows: Burn's product, and all that follows it in one launch.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::{
    cubecl::{
        self,
        client::Client,
        features::MmaConfig,
        ir::{ElemType, FloatKind},
        prelude::*,
    },
    kernel::matmul::{MatmulStrategy, matmul},
    tensor::CubeTensor,
};

use super::{
    super::{
        count,
        sum::fold_max,
        tensors::{
            self, UNITS, any_float, as_it_lies, buffer, bytes, elements, empty, lift, lower,
            lower_optional,
        },
    },
    Follows,
    activation::finished,
    widen,
};
use crate::{kernel::product::epilogue::Epilogue, matrix::Matrix};

/// As [`crate::seam::linear`], for any number of rows.
pub(super) fn linear<const D: usize>(
    x: &Tensor<D>,
    matrix: &Matrix,
    epilogue: &Epilogue<Tensor<1>, Tensor<D>>,
) -> Option<Tensor<D>> {
    let mut shape = x.dims();
    let (outputs, inputs) = (matrix.outputs(), matrix.inputs());
    let rows = shape[..D - 1].iter().product::<usize>();
    if rows * inputs * outputs == 0 {
        return None;
    }
    let bias = lower_optional(epilogue.bias.as_ref())?;
    let residual = lower_optional(epilogue.residual.as_ref())?;
    let x = lower(&x.clone().reshape([rows, inputs]))?;
    let narrow = multiplies_halves(&x.client);
    let weight = operand(matrix, narrow)?;
    // What Burn's product moves at least: each operand once, and the result.
    count::moves(bytes(&x) + bytes(&weight) + 4 * rows * outputs);
    let product = match weight.dtype {
        DType::F16 => {
            let (x, scales) = narrowed(&x, [rows, inputs]);
            (product(x, weight)?, Some(scales))
        }
        _ => (product(x, weight)?, None),
    };
    let (y, scales) = product;
    let follows = Follows {
        bias: bias.is_some(),
        activation: epilogue.activation,
        residual: residual.is_some(),
    };
    finish(
        &y,
        scales.as_ref(),
        [bias.as_ref(), residual.as_ref()],
        [rows, outputs],
        follows,
    );
    shape[D - 1] = outputs;
    Some(lift::<2>(y).reshape(shape))
}

/// The matrix as `[inputs, outputs]`, in `f16` where that loses nothing that its format has not lost
/// and matrix units want it.
fn operand(matrix: &Matrix, narrow: bool) -> Option<CubeTensor> {
    match matrix {
        Matrix::Dense(weight) => {
            let weight = weight.val();
            let weight = match weight.dtype() {
                DType::F32 => weight,
                DType::F16 if narrow => weight,
                _ => weight.cast(DType::F32),
            };
            any_float(&weight.transpose())
        }
        Matrix::OnDevice(matrix) => widen::widened(matrix, narrow),
        Matrix::Packed(_) => None,
    }
}

/// `x · W`, summed in `f32`.
fn product(x: CubeTensor, weight: CubeTensor) -> Option<CubeTensor> {
    matmul(x, weight, None, MatmulStrategy::default(), DType::F32).ok()
}

/// Whether the device multiplies this matrix, held narrower than `f32`, by units of its own, and loses
/// nothing that its format has not lost: then `f16` operands are summed in `f32`.
pub(super) fn has_matrix_units<const D: usize>(x: &Tensor<D>, matrix: &Matrix) -> bool {
    let narrow = match matrix {
        Matrix::Dense(weight) => weight.val().dtype() == DType::F16,
        Matrix::OnDevice(matrix) => !matrix.format().is_float(),
        Matrix::Packed(_) => false,
    };
    narrow && as_it_lies(x).is_some_and(|x| multiplies_halves(&x.client))
}

/// Whether `f16` operands are summed in `f32` by units of the device's own.
pub(in crate::gpu) fn multiplies_halves(client: &Client) -> bool {
    let [half, single] = [FloatKind::F16, FloatKind::F32].map(ElemType::Float);
    let units = &client.properties().features.matmul;
    let serves =
        |unit: &MmaConfig| unit.a_type == half && unit.b_type == half && unit.cd_type == single;
    units.cmma.iter().any(serves)
}

/// Each row divided by a power of two that brings it into the range of `f16`.
#[cube(launch_unchecked)]
fn narrow_rows<W: Float>(x: &[f32], y: &mut [W], scales: &mut [f32], rows: usize, width: usize) {
    if CUBE_POS >= rows {
        terminate!();
    }
    let units = comptime!(UNITS as usize);
    let start = CUBE_POS * width;
    let mut largest = 0.0f32;
    let mut at = UNIT_POS as usize;
    while at < width {
        largest = max(largest, x[start + at].abs());
        at += units;
    }
    let mut shared = Shared::<[f32]>::new_slice(units);
    shared[UNIT_POS as usize] = largest;
    fold_max(&mut shared, 1usize.runtime(), units, units);
    // Rows whose numbers fit are not touched. Of others, the exponent decides.
    let largest = shared[0];
    let scale = select(
        largest > 32768.0,
        f32::from_bits((largest.to_bits() & 0x7f80_0000) - 0x0600_0000),
        1.0,
    );
    if UNIT_POS == 0 {
        scales[CUBE_POS] = scale;
    }
    let mut at = UNIT_POS as usize;
    while at < width {
        y[start + at] = W::cast_from(x[start + at] / scale);
        at += units;
    }
}

/// `x` as `f16`, and what each row was divided by.
pub(super) fn narrowed(x: &CubeTensor, [rows, width]: [usize; 2]) -> (CubeTensor, CubeTensor) {
    count::moves(6 * rows * width);
    let (y, scales) = (
        empty(x, [rows, width], DType::F16),
        empty(x, [rows], DType::F32),
    );
    // SAFETY: a cube reads and writes one of the rows of both tensors, and a number of the scales.
    unsafe {
        narrow_rows::launch_unchecked::<half::f16>(
            &x.client,
            tensors::cubes(rows),
            CubeDim::new_1d(UNITS),
            buffer(x, elements(x)),
            buffer(&y, elements(&y)),
            buffer(&scales, rows),
            rows,
            width,
        );
    }
    (y, scales)
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn follow(
    y: &mut [f32],
    scales: &[f32],
    bias: &[f32],
    residual: &[f32],
    outputs: usize,
    len: usize,
    #[comptime] scaled: bool,
    #[comptime] follows: Follows,
) {
    let place = ABSOLUTE_POS;
    if place < len {
        let mut sum = y[place];
        if scaled {
            sum *= scales[place / outputs];
        }
        y[place] = finished(sum, bias, residual, place % outputs, place, follows);
    }
}

/// Applies what follows the product, in place: `y` is new and nobody else's.
fn finish(
    y: &CubeTensor,
    scales: Option<&CubeTensor>,
    [bias, residual]: [Option<&CubeTensor>; 2],
    [rows, outputs]: [usize; 2],
    follows: Follows,
) {
    if scales.is_none() && !follows.bias && !follows.residual && follows.activation.is_none() {
        return;
    }
    let len = rows * outputs;
    let beside = [scales, bias, residual].into_iter().flatten().map(bytes);
    count::moves(8 * len + beside.sum::<usize>());
    // What is not there is not read.
    let dummy = scales.or(bias).or(residual);
    let stand_in = dummy.map_or_else(|| empty(y, [1], DType::F32), Clone::clone);
    let part = |tensor: Option<&CubeTensor>| {
        let tensor = tensor.unwrap_or(&stand_in);
        buffer(tensor, elements(tensor))
    };
    // SAFETY: a unit reads and writes a number of the result, and reads its row's scale, its output's
    // bias and its own residual where they are there.
    unsafe {
        follow::launch_unchecked(
            &y.client,
            tensors::cubes(len.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            buffer(y, len),
            part(scales),
            part(bias),
            part(residual),
            outputs,
            len,
            scales.is_some(),
            follows,
        );
    }
}
