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
    part::{finished, part},
    rounds,
};

/// Units that sum one output.
const SLICES: usize = 32;

/// Outputs that a unit sums, so that what it reads of `x` serves them all.
const TOGETHER: usize = 2;

/// Outputs of a cube.
const OUTPUTS: usize = UNITS as usize / SLICES * TOGETHER;

/// What a unit reads of a matrix for the round that begins at the vector `first`: vectors and outputs that
/// are not there are the last ones, and count for nothing.
#[cube]
fn round<W: Float, N: Size>(
    read: &mut Array<Vector<W, N>>,
    weights: &[Vector<W, N>],
    output: usize,
    outputs: usize,
    first: usize,
    vectors: usize,
    #[comptime] ahead: usize,
) {
    #[unroll]
    for step in 0..ahead {
        let vector = min(first + comptime!(step * SLICES), vectors - 1);
        #[unroll]
        for n in 0..comptime!(TOGETHER) {
            let row = min(output + n, outputs - 1) * vectors;
            read[comptime!(step * TOGETHER + n)] = weights[row + vector];
        }
    }
}

/// A unit sums every 32nd vector of its outputs' weights; neighbours read neighbouring memory. All of a
/// round is asked for before anything is computed.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn few_rows<W: Float, N: Size>(
    weights: Sequence<Box<[Vector<W, N>]>>,
    x: &[Vector<f32, N>],
    biases: Sequence<Box<[f32]>>,
    residual: &[f32],
    y: &mut [f32],
    firsts: Sequence<usize>,
    outputs: Sequence<usize>,
    starts: Sequence<usize>,
    vectors: usize,
    #[comptime] rows: usize,
    #[comptime] ahead: usize,
    #[comptime] follows: Follows,
) {
    let unit = UNIT_POS as usize;
    let (slice, place) = (unit % comptime!(SLICES), unit / comptime!(SLICES));
    let own = part(CUBE_POS, &firsts, &outputs, &starts);
    let output = own.place * comptime!(OUTPUTS) + place * comptime!(TOGETHER);

    let mut sums = Array::<f32>::new(comptime!(rows * TOGETHER));
    #[unroll]
    for n in 0..comptime!(rows * TOGETHER) {
        sums[n] = 0.0;
    }
    let mut first = slice;
    while first < vectors {
        let mut read = Array::<Vector<W, N>>::new(comptime!(ahead * TOGETHER));
        #[unroll]
        for n in 0..weights.len() {
            if own.matrix == n {
                round(
                    &mut read,
                    &weights[n],
                    output,
                    own.outputs,
                    first,
                    vectors,
                    ahead,
                );
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
        let output = own.place * comptime!(OUTPUTS) + unit / rows;
        if output < own.outputs {
            let place = own.start + unit % rows * own.outputs + output;
            y[place] = finished(
                shared[unit],
                &biases,
                residual,
                own.matrix,
                output,
                place,
                follows,
            );
        }
    }
}

/// The products with matrices of the same format, one behind the other; `None` for matrices that kernels do
/// not read.
pub(super) fn products(operands: &Operands, matrices: &[Tensor<2>]) -> Option<CubeTensor> {
    let width = match matrices.first()?.dtype() {
        dtype @ (DType::F32 | DType::F16) => dtype,
        _ => return None,
    };
    let lying = matrices
        .iter()
        .map(|matrix| any_float(matrix).map(into_contiguous));
    let matrices: Vec<CubeTensor> = lying.collect::<Option<_>>()?;
    let y = operands.result();
    let vectors = operands.inputs / VECTOR;
    let (firsts, cubes) = operands.blocks(OUTPUTS);
    let ahead = rounds(vectors.div_ceil(SLICES), 5);
    let client = &operands.x.client;
    operands.count(matrices.iter().map(bytes).sum());
    macro_rules! launch {
        ($float:ty) => {
            // SAFETY: a unit reads whole vectors of rows that its matrix and `x` have, by their shapes,
            // bias and residual where they are there, and writes a number of its matrix's result.
            unsafe {
                few_rows::launch_unchecked::<$float>(
                    client,
                    CubeCount::Static(cubes as u32, 1, 1),
                    CubeDim::new_1d(UNITS),
                    VECTOR,
                    matrices.iter().map(|held| buffer(held, elements(held) / VECTOR)).collect(),
                    buffer(&operands.x, elements(&operands.x) / VECTOR),
                    operands.biases(),
                    operands.residual(),
                    buffer(&y, elements(&y)),
                    firsts.into_iter().collect(),
                    operands.outputs.iter().copied().collect(),
                    operands.starts().into_iter().collect(),
                    vectors,
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
