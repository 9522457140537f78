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
    rounds,
};

/// Units that sum one output.
const SLICES: usize = 32;

/// Outputs that a unit sums, so that what it reads of `x` serves them all.
const TOGETHER: usize = 2;

/// Outputs of a cube.
const OUTPUTS: usize = UNITS as usize / SLICES * TOGETHER;

/// A unit sums every 32nd vector of its outputs' weights; neighbours read neighbouring memory. All of a
/// round is asked for before anything is computed.
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
    #[comptime] ahead: usize,
    #[comptime] follows: Follows,
) {
    let unit = UNIT_POS as usize;
    let (slice, place) = (unit % comptime!(SLICES), unit / comptime!(SLICES));
    let output = CUBE_POS * comptime!(OUTPUTS) + place * comptime!(TOGETHER);

    let mut sums = Array::<f32>::new(comptime!(rows * TOGETHER));
    #[unroll]
    for n in 0..comptime!(rows * TOGETHER) {
        sums[n] = 0.0;
    }
    let mut first = slice;
    while first < vectors {
        let mut read = Array::<Vector<W, N>>::new(comptime!(ahead * TOGETHER));
        #[unroll]
        for step in 0..ahead {
            let vector = min(first + comptime!(step * SLICES), vectors - 1);
            #[unroll]
            for n in 0..comptime!(TOGETHER) {
                // Outputs that are not there are the last one, and written nowhere.
                let row = min(output + n, outputs - 1) * vectors;
                read[comptime!(step * TOGETHER + n)] = weights[row + vector];
            }
        }
        #[unroll]
        for step in 0..ahead {
            let vector = first + comptime!(step * SLICES);
            let there = select(vector < vectors, 1.0f32, 0.0f32);
            #[unroll]
            for r in 0..rows {
                let x = x[r * vectors + min(vector, vectors - 1)] * Vector::new(there);
                #[unroll]
                for n in 0..comptime!(TOGETHER) {
                    let w = Vector::<f32, N>::cast_from(read[comptime!(step * TOGETHER + n)]);
                    let products = w * x;
                    #[unroll]
                    for k in 0..comptime!(VECTOR) {
                        sums[comptime!(n * rows + r)] += products.extract(k);
                    }
                }
            }
        }
        first += comptime!(ahead * SLICES);
    }

    // A run of all outputs and rows for each slice.
    let run = comptime!(OUTPUTS * rows);
    let mut shared = Shared::<[f32]>::new_slice(comptime!(OUTPUTS * rows * SLICES));
    #[unroll]
    for n in 0..comptime!(rows * TOGETHER) {
        shared[slice * run + place * comptime!(rows * TOGETHER) + n] = sums[n];
    }
    fold(
        &mut shared,
        run.runtime(),
        comptime!(SLICES),
        comptime!(UNITS as usize),
    );
    if unit < run {
        let output = CUBE_POS * comptime!(OUTPUTS) + unit / rows;
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
    let cubes = operands.outputs.div_ceil(OUTPUTS);
    let ahead = rounds(vectors.div_ceil(SLICES), 5);
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
                    ahead,
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
