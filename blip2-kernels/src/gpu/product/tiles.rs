//! Many rows in `f32`: a cube computes a square of the result, from the matrix as it is held to what
//! follows the product, in one launch.
//!
//! What the next round reads is on its way while this one computes, and lies in shared memory in rows
//! that are one vector longer than they need be: neighbours then find theirs in different banks.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::DType;
use burn_cubecl::{
    cubecl::{self, prelude::*},
    kernel::into_contiguous,
    tensor::CubeTensor,
};

use super::{
    super::tensors::{self, any_float, buffer, bytes, elements},
    Follows, Operands, VECTOR,
    activation::finished,
    panels::{INT4_STEP, PANEL, byte, half_to_f32, nibble},
};
use crate::matrix::{Matrix, packed::PackedFormat};

/// Rows and outputs that a unit computes, each.
const EACH: usize = 4;

/// The vectors of a row that a round takes.
const DEPTH: usize = 8;

/// A row in shared memory, in vectors.
const STRIDE: usize = DEPTH + 1;

/// How a product is cut, as a kernel is compiled for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Plan {
    /// `None` for a tensor.
    format: Option<PackedFormat>,
    /// The side of a cube's square.
    side: usize,
    follows: Follows,
}

impl Plan {
    /// Units along a side.
    fn across(self) -> usize {
        self.side / EACH
    }

    fn units(self) -> usize {
        self.across() * self.across()
    }

    /// The vectors of each operand that a unit brings for a round.
    fn brings(self) -> usize {
        self.side * DEPTH / self.units()
    }
}

/// Four inputs of an output of a packed matrix.
#[cube]
fn four<N: Size>(
    words: &[u32],
    output: usize,
    vector: usize,
    panel_words: usize,
    #[comptime] format: PackedFormat,
) -> Vector<f32, N> {
    let mut four = Vector::<f32, N>::new(0.0);
    let (panel, inside) = (
        output / comptime!(PANEL) * panel_words,
        output % comptime!(PANEL),
    );
    if comptime!(format == PackedFormat::Int8) {
        let word = words[panel + vector * 32 + inside] ^ 0x8080_8080;
        #[unroll]
        for k in 0..4usize {
            four.insert(k, byte(word >> comptime!(8 * k as u32)));
        }
    } else if comptime!(format == PackedFormat::Int4) {
        let step = panel + vector / 8 * comptime!(INT4_STEP);
        let pair = words[step + 128 + inside / 2];
        let scale = half_to_f32((pair >> (16 * (inside as u32 % 2))) & 0xffff);
        let word = words[step + vector % 8 / 2 * 32 + inside] >> (4 * (vector as u32 % 2));
        #[unroll]
        for k in 0..4usize {
            four.insert(k, nibble(word >> comptime!(8 * k as u32)) * scale);
        }
    } else {
        #[unroll]
        for k in 0..2usize {
            let word = words[panel + (2 * vector + k) * 32 + inside];
            four.insert(2 * k, f32::from_bits(word << 16));
            four.insert(2 * k + 1, f32::from_bits(word & 0xffff_0000));
        }
    }
    four
}

/// What a unit brings for a round that begins at the vector `first`: its share of the lines of `x` and of
/// the matrix. Lines that are not there are the last ones, and written nowhere.
#[cube]
#[allow(clippy::too_many_arguments)]
fn bring<W: Float, N: Size>(
    next_x: &mut Array<Vector<f32, N>>,
    next_w: &mut Array<Vector<f32, N>>,
    dense: &[Vector<W, N>],
    words: &[u32],
    x: &[Vector<f32, N>],
    first_row: usize,
    first_output: usize,
    rows: usize,
    outputs: usize,
    first: usize,
    vectors: usize,
    panel_words: usize,
    #[comptime] plan: Plan,
) {
    let (brings, units) = comptime!((plan.brings(), plan.units()));
    #[unroll]
    for n in 0..brings {
        let at = UNIT_POS as usize + comptime!(n * units);
        let (line, vector) = (at / comptime!(DEPTH), first + at % comptime!(DEPTH));
        let there = select(vector < vectors, 1.0f32, 0.0f32);
        let vector = min(vector, vectors - 1);
        let row = min(first_row + line, rows - 1);
        next_x[n] = x[row * vectors + vector] * Vector::new(there);
        let output = min(first_output + line, outputs - 1);
        next_w[n] = match comptime!(plan.format) {
            Some(format) => four(words, output, vector, panel_words, format),
            None => Vector::cast_from(dense[output * vectors + vector]),
        };
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn square<W: Float, N: Size>(
    dense: &[Vector<W, N>],
    words: &[u32],
    x: &[Vector<f32, N>],
    bias: &[f32],
    residual: &[f32],
    y: &mut [f32],
    rows: usize,
    outputs: usize,
    vectors: usize,
    panel_words: usize,
    #[comptime] plan: Plan,
) {
    let (side, across, brings) = comptime!((plan.side, plan.across(), plan.brings()));
    let units = comptime!(plan.units());
    let unit = UNIT_POS as usize;
    let tiles = outputs.div_ceil(side);
    let (first_row, first_output) = (CUBE_POS / tiles * side, CUBE_POS % tiles * side);
    let (row, output) = (unit / across, unit % across);

    let mut xs = Shared::<[Vector<f32, N>]>::new_slice(comptime!(side * STRIDE));
    let mut ws = Shared::<[Vector<f32, N>]>::new_slice(comptime!(side * STRIDE));
    let mut sums = Array::<f32>::new(comptime!(EACH * EACH));
    #[unroll]
    for n in 0..comptime!(EACH * EACH) {
        sums[n] = 0.0;
    }
    let mut next_x = Array::<Vector<f32, N>>::new(brings);
    let mut next_w = Array::<Vector<f32, N>>::new(brings);
    let mut first = 0usize;
    bring(
        &mut next_x,
        &mut next_w,
        dense,
        words,
        x,
        first_row,
        first_output,
        rows,
        outputs,
        first,
        vectors,
        panel_words,
        plan,
    );
    while first < vectors {
        #[unroll]
        for n in 0..brings {
            let at = unit + comptime!(n * units);
            let place = at / comptime!(DEPTH) * comptime!(STRIDE) + at % comptime!(DEPTH);
            xs[place] = next_x[n];
            ws[place] = next_w[n];
        }
        sync_cube();
        first += comptime!(DEPTH);
        // Beyond the last there are zeros, which nobody computes with.
        bring(
            &mut next_x,
            &mut next_w,
            dense,
            words,
            x,
            first_row,
            first_output,
            rows,
            outputs,
            first,
            vectors,
            panel_words,
            plan,
        );
        for k in 0..comptime!(DEPTH) {
            let mut w = Array::<Vector<f32, N>>::new(comptime!(EACH));
            #[unroll]
            for j in 0..comptime!(EACH) {
                w[j] = ws[(output + comptime!(j * across)) * comptime!(STRIDE) + k];
            }
            #[unroll]
            for i in 0..comptime!(EACH) {
                let x = xs[(row + comptime!(i * across)) * comptime!(STRIDE) + k];
                #[unroll]
                for j in 0..comptime!(EACH) {
                    #[unroll]
                    for e in 0..comptime!(VECTOR) {
                        sums[comptime!(i * EACH + j)] += x.extract(e) * w[j].extract(e);
                    }
                }
            }
        }
        sync_cube();
    }
    #[unroll]
    for i in 0..comptime!(EACH) {
        #[unroll]
        for j in 0..comptime!(EACH) {
            let row = first_row + row + comptime!(i * across);
            let output = first_output + output + comptime!(j * across);
            if row < rows && output < outputs {
                let mut sum = sums[comptime!(i * EACH + j)];
                if comptime!(plan.format == Some(PackedFormat::Int8)) {
                    let panel = output / comptime!(PANEL) * panel_words;
                    let scale = words[panel + vectors * 32 + output % comptime!(PANEL)];
                    sum *= f32::from_bits(scale);
                }
                let place = row * outputs + output;
                y[place] = finished(sum, bias, residual, output, place, comptime!(plan.follows));
            }
        }
    }
}

/// The product with one matrix; `None` for one that the kernel does not read, and for several.
pub(super) fn product(operands: &Operands, matrix: &Matrix) -> Option<CubeTensor> {
    let (format, held) = match matrix {
        Matrix::OnDevice(matrix) => (Some(matrix.format()), tensors::words(matrix)?),
        Matrix::Dense(weight) => (None, into_contiguous(any_float(&weight.val())?)),
        Matrix::Packed(_) => return None,
    };
    let plan = Plan {
        format,
        // Small squares where few large ones would leave multiprocessors idle.
        side: if operands.rows > 48 { 64 } else { 32 },
        follows: operands.follows(),
    };
    let (rows, vectors) = (operands.rows, operands.inputs / VECTOR);
    let &[outputs] = operands.outputs.as_slice() else {
        return None;
    };
    let cubes = rows.div_ceil(plan.side) * outputs.div_ceil(plan.side);
    let y = operands.result();
    operands.count(bytes(&held));
    // A bias that is not there is not read.
    let bias = operands.biases.first().unwrap_or(&operands.x);
    let x = &operands.x;
    let halves = held.dtype == DType::F16;
    // What a matrix is not held as is not read.
    let (dense, words) = match format {
        Some(_) => (x, &held),
        None => (&held, x),
    };
    macro_rules! launch {
        ($float:ty) => {
            // SAFETY: a unit reads vectors of rows that `x` has and of outputs that the matrix has, by
            // their shapes, bias and residual where they are there, and writes numbers of the result.
            unsafe {
                square::launch_unchecked::<$float>(
                    &x.client,
                    CubeCount::Static(cubes as u32, 1, 1),
                    CubeDim::new_1d(plan.units() as u32),
                    VECTOR,
                    buffer(dense, elements(dense) / VECTOR),
                    buffer(words, elements(words)),
                    buffer(x, elements(x) / VECTOR),
                    buffer(bias, elements(bias)),
                    operands.residual(),
                    buffer(&y, elements(&y)),
                    rows,
                    outputs,
                    vectors,
                    elements(&held) / outputs.div_ceil(PANEL),
                    plan,
                )
            }
        };
    }
    match (halves, held.dtype) {
        (true, _) => launch!(half::f16),
        (_, DType::F32 | DType::U32) => launch!(f32),
        _ => return None,
    }
    Some(y)
}
