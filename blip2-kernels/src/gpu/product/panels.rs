//! Few rows with a matrix that is packed, in the [layout](crate::PackedMatrix#layout) that processors
//! read too: in a panel, neighbouring units read neighbouring outputs of the same inputs.

#![allow(unsafe_code)] // launches of kernels

use burn_cubecl::{
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::{
    super::{
        sum::fold,
        tensors::{UNITS, buffer, bytes, elements, multiprocessors},
    },
    Follows, Operands, VECTOR,
    activation::finished,
};
use crate::matrix::{device::DeviceMatrix, packed::PackedFormat};

/// Outputs of a panel.
pub(in crate::gpu) const PANEL: usize = 32;

/// The words of a step of 4-bit integers: four quarters, and the scales of the outputs.
pub(super) const INT4_STEP: usize = 144;

/// How a product is spread over units, as a kernel is compiled for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Plan {
    format: PackedFormat,
    rows: usize,
    /// Outputs of a cube, a power of two up to a panel.
    width: usize,
    follows: Follows,
}

impl Plan {
    /// Units that sum one output.
    fn slices(self) -> usize {
        UNITS as usize / self.width
    }

    /// Inputs of a turn: what a unit reads between two looks at where it is.
    fn turn(self) -> usize {
        match self.format {
            PackedFormat::Int4 => 32,
            _ => VECTOR,
        }
    }

    /// Turns whose weights are on their way at once.
    fn ahead(self) -> usize {
        match self.format {
            PackedFormat::Int4 => 2,
            PackedFormat::Int8 => 8,
            _ => 4,
        }
    }
}

/// The number that a half-precision float's bits stand for, on devices that may not have such floats.
#[cube]
pub(super) fn half_to_f32(bits: u32) -> f32 {
    let rest = bits & 0x7fff;
    let sign = (bits & 0x8000) << 16;
    let normal = f32::from_bits(((rest << 13) + 0x3800_0000) | sign);
    // Devices may take the subnormal numbers of `f32` for zero, so they are made of an integer.
    let small = f32::cast_from(rest) * 5.960_464_5e-8;
    let small = select(sign == 0, small, -small);
    select(rest < 0x0400, small, normal)
}

/// The integer in the low byte of a word, which is 128 above its value, without a conversion: those are
/// slower than all else here.
#[cube]
pub(super) fn byte(word: u32) -> f32 {
    f32::from_bits((word & 0xff) | 0x4b00_0000) - 8_388_736.0
}

/// The integer in the low four bits of a word, which is 8 above its value.
#[cube]
pub(super) fn nibble(word: u32) -> f32 {
    f32::from_bits((word & 0xf) | 0x4b00_0000) - 8_388_616.0
}

/// The four weights of a turn of an output.
#[cube]
fn four(
    words: &[u32],
    panel: usize,
    turn: usize,
    output: usize,
    weights: &mut Array<f32>,
    #[comptime] format: PackedFormat,
) {
    if comptime!(format == PackedFormat::Int8) {
        let word = words[panel + turn * 32 + output] ^ 0x8080_8080;
        #[unroll]
        for k in 0..4usize {
            weights[k] = byte(word >> comptime!(8 * k as u32));
        }
    } else {
        #[unroll]
        for k in 0..2usize {
            let word = words[panel + (2 * turn + k) * 32 + output];
            weights[2 * k] = f32::from_bits(word << 16);
            weights[2 * k + 1] = f32::from_bits(word & 0xffff_0000);
        }
    }
}

/// Adds four products to the sum of each row.
#[cube]
fn add<N: Size>(
    sums: &mut Array<f32>,
    weights: &Array<f32>,
    x: &[Vector<f32, N>],
    vector: usize,
    vectors: usize,
    #[comptime] rows: usize,
) {
    #[unroll]
    for r in 0..rows {
        let x = x[r * vectors + vector];
        #[unroll]
        for k in 0..4usize {
            sums[r] += weights[k] * x.extract(k);
        }
    }
}

/// Adds a turn's products to the sum of each row.
#[cube]
#[allow(clippy::too_many_arguments)]
fn take<N: Size>(
    sums: &mut Array<f32>,
    words: &[u32],
    x: &[Vector<f32, N>],
    panel: usize,
    turn: usize,
    output: usize,
    vectors: usize,
    #[comptime] plan: Plan,
) {
    let mut weights = Array::<f32>::new(4usize);
    if comptime!(plan.format == PackedFormat::Int4) {
        let rows = comptime!(plan.rows);
        let step = panel + turn * comptime!(INT4_STEP);
        let scales = words[step + 128 + output / 2];
        let scale = half_to_f32((scales >> (16 * (output as u32 % 2))) & 0xffff);
        let mut group = Array::<f32>::new(rows);
        #[unroll]
        for r in 0..rows {
            group[r] = 0.0;
        }
        #[unroll]
        for quarter in 0..4usize {
            let word = words[step + quarter * 32 + output];
            #[unroll]
            for high in 0..2u32 {
                // A byte holds an input in its low four bits, and the fourth after it in its high ones.
                #[unroll]
                for k in 0..4usize {
                    weights[k] = nibble(word >> comptime!(8 * k as u32 + 4 * high));
                }
                // Weights of inputs that are not there are zero, whatever they are multiplied with.
                let vector = turn * 8 + comptime!(2 * quarter + high as usize);
                add(
                    &mut group,
                    &weights,
                    x,
                    min(vector, vectors - 1),
                    vectors,
                    rows,
                );
            }
        }
        #[unroll]
        for r in 0..rows {
            sums[r] += group[r] * scale;
        }
    } else {
        four(words, panel, turn, output, &mut weights, plan.format);
        add(sums, &weights, x, turn, vectors, plan.rows);
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn few_rows<N: Size>(
    words: &[u32],
    x: &[Vector<f32, N>],
    bias: &[f32],
    residual: &[f32],
    y: &mut [f32],
    turns: usize,
    panel_words: usize,
    outputs: usize,
    vectors: usize,
    #[comptime] plan: Plan,
) {
    let (rows, width) = comptime!((plan.rows, plan.width));
    let (slices, ahead) = comptime!((plan.slices(), plan.ahead()));
    let slice = UNIT_POS as usize / width;
    let parts = comptime!(PANEL / width);
    let output = CUBE_POS % parts * width + UNIT_POS as usize % width;
    let panel = CUBE_POS / parts * panel_words;

    let mut sums = Array::<f32>::new(rows);
    #[unroll]
    for r in 0..rows {
        sums[r] = 0.0;
    }
    let mut turn = slice;
    while turn + comptime!((ahead - 1) * slices) < turns {
        #[unroll]
        for step in 0..ahead {
            take(
                &mut sums,
                words,
                x,
                panel,
                turn + step * slices,
                output,
                vectors,
                plan,
            );
        }
        turn += comptime!(ahead * slices);
    }
    while turn < turns {
        take(&mut sums, words, x, panel, turn, output, vectors, plan);
        turn += slices;
    }

    // A run of all rows' outputs for each slice.
    let run = comptime!(rows * width);
    let mut shared = Shared::<[f32]>::new_slice(comptime!(rows * UNITS as usize));
    #[unroll]
    for r in 0..rows {
        shared[slice * run + r * width + UNIT_POS as usize % width] = sums[r];
    }
    fold(
        &mut shared,
        run.runtime(),
        slices,
        comptime!(UNITS as usize),
    );
    if UNIT_POS < comptime!(run as u32) {
        let unit = UNIT_POS as usize;
        let inside = CUBE_POS % parts * width + unit % width;
        let output = CUBE_POS / parts * comptime!(PANEL) + inside;
        if output < outputs {
            let mut sum = shared[unit];
            if comptime!(plan.format == PackedFormat::Int8) {
                // Scales stand behind the steps of a panel.
                sum *= f32::from_bits(words[panel + turns * 32 + inside]);
            }
            let place = unit / width * outputs + output;
            y[place] = finished(sum, bias, residual, output, place, comptime!(plan.follows));
        }
    }
}

/// `[rows, outputs]`
pub(super) fn product(operands: &Operands, matrix: &DeviceMatrix) -> Option<CubeTensor> {
    let words = matrix.words()?;
    let client = &operands.x.client;
    let plan = Plan {
        format: matrix.format(),
        rows: operands.rows,
        width: width(matrix.outputs(), multiprocessors(client)),
        follows: operands.follows(),
    };
    let panels = operands.outputs.div_ceil(PANEL);
    let y = operands.result();
    let [bias, residual] = operands.behind();
    operands.count(bytes(&words), &y);
    // SAFETY: a matrix has the words that its format and shape make, by its construction; a unit reads
    // those of its panel, vectors of rows that `x` has, bias and residual where they are there, and
    // writes a number of the result.
    unsafe {
        few_rows::launch_unchecked(
            client,
            CubeCount::Static((panels * PANEL / plan.width) as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            VECTOR,
            buffer(&words, elements(&words)),
            buffer(&operands.x, elements(&operands.x) / VECTOR),
            bias,
            residual,
            buffer(&y, elements(&y)),
            operands.inputs.div_ceil(plan.turn()),
            elements(&words) / panels,
            operands.outputs,
            operands.inputs / VECTOR,
            plan,
        );
    }
    Some(y)
}

/// The outputs of a cube: as many as give every multiprocessor two cubes, and no fewer than memory is
/// read well by.
fn width(outputs: usize, multiprocessors: usize) -> usize {
    let mut width = PANEL;
    while width > 8 && outputs.div_ceil(width) < 2 * multiprocessors {
        width /= 2;
    }
    width
}
