//! Few rows with a matrix that is a tensor, `[outputs, inputs]` in `f32` or `f16`.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::{
    cubecl::{self, prelude::*},
    kernel::into_contiguous,
    tensor::CubeTensor,
};

use super::{
    super::{
        sum::fold,
        tensors::{UNITS, any_float, buffer, bytes, elements},
    },
    Follows, Operands, VECTOR,
    activation::finished,
};

/// Units that sum one output.
const SLICES: u32 = 32;

/// Reads that are on their way at once.
const AHEAD: usize = 4;

/// A unit sums every 32nd vector of an output's weights; neighbours read neighbouring memory.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn few_rows<W: Float, N: Size>(
    weights: &[Vector<W, N>],
    x: &[Vector<f32, N>],
    bias: &[f32],
    residual: &[f32],
    y: &mut [f32],
    vectors: usize,
    outputs: usize,
    #[comptime] rows: usize,
    #[comptime] follows: Follows,
) {
    let slice = UNIT_POS as usize % comptime!(SLICES as usize);
    let place = UNIT_POS as usize / comptime!(SLICES as usize);
    let per_cube = comptime!((UNITS / SLICES) as usize);
    let output = CUBE_POS * per_cube + place;
    // Units of outputs that are not there sum the last one, and write nothing.
    let row = min(output, outputs - 1) * vectors;

    let mut sums = Array::<f32>::new(rows);
    #[unroll]
    for r in 0..rows {
        sums[r] = 0.0;
    }
    let stride = comptime!(SLICES as usize);
    let mut at = slice;
    while at + comptime!((AHEAD - 1) * SLICES as usize) < vectors {
        #[unroll]
        for step in 0..comptime!(AHEAD) {
            let place = at + step * stride;
            let w = Vector::<f32, N>::cast_from(weights[row + place]);
            #[unroll]
            for r in 0..rows {
                let products = w * x[r * vectors + place];
                #[unroll]
                for k in 0..comptime!(VECTOR) {
                    sums[r] += products.extract(k);
                }
            }
        }
        at += comptime!(AHEAD * SLICES as usize);
    }
    while at < vectors {
        let w = Vector::<f32, N>::cast_from(weights[row + at]);
        #[unroll]
        for r in 0..rows {
            let products = w * x[r * vectors + at];
            #[unroll]
            for k in 0..comptime!(VECTOR) {
                sums[r] += products.extract(k);
            }
        }
        at += stride;
    }

    // A run of all outputs and rows for each slice.
    let width = comptime!((UNITS / SLICES) as usize * rows);
    let mut shared = Shared::<[f32]>::new_slice(comptime!(UNITS as usize * rows));
    #[unroll]
    for r in 0..rows {
        shared[slice * width + place * rows + r] = sums[r];
    }
    fold(
        &mut shared,
        width,
        comptime!(SLICES as usize),
        comptime!(UNITS as usize),
    );
    if UNIT_POS < comptime!((UNITS / SLICES) * rows as u32) {
        let unit = UNIT_POS as usize;
        let output = CUBE_POS * per_cube + unit / rows;
        if output < outputs {
            let place = unit % rows * outputs + output;
            y[place] = finished(shared[unit], bias, residual, output, place, follows);
        }
    }
}

/// `[rows, outputs]`; `None` for a matrix that kernels do not read.
pub(super) fn product(operands: &Operands, weight: &Tensor<2>) -> Option<CubeTensor> {
    let width = match weight.dtype() {
        dtype @ (DType::F32 | DType::F16) => dtype,
        _ => return None,
    };
    let weight = into_contiguous(any_float(weight)?);
    let y = operands.result();
    let vectors = operands.inputs / VECTOR;
    let cubes = operands.outputs.div_ceil((UNITS / SLICES) as usize);
    let client = &operands.x.client;
    operands.count(bytes(&weight), &y);
    let [bias, residual] = operands.behind();
    macro_rules! launch {
        ($float:ty) => {
            // SAFETY: a unit reads whole vectors of rows that the matrix and `x` have, by their shapes,
            // bias and residual where they are there, and writes a number of the result.
            unsafe {
                few_rows::launch_unchecked::<$float>(
                    client,
                    CubeCount::Static(cubes as u32, 1, 1),
                    CubeDim::new_1d(UNITS),
                    VECTOR,
                    buffer(&weight, elements(&weight) / VECTOR),
                    buffer(&operands.x, elements(&operands.x) / VECTOR),
                    bias,
                    residual,
                    buffer(&y, elements(&y)),
                    vectors,
                    operands.outputs,
                    operands.rows,
                    operands.follows(),
                )
            }
        };
    }
    match width {
        DType::F16 => launch!(half::f16),
        _ => launch!(f32),
    }
    Some(y)
}
