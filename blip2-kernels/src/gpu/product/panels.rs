//! Few rows with a matrix that is packed, in the [layout](crate::PackedMatrix#layout) that processors
//! read too: in a panel, neighbouring units read neighbouring outputs of the same inputs.
//!
//! A unit reads four outputs at a time, so that what it reads of `x` serves all four, and asks for all
//! that it will need of a round before it computes with any: a kernel that waits for each read takes
//! ten times as long.

#![allow(unsafe_code)] // launches of kernels

use burn_cubecl::{
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::{
    super::{
        sum::fold,
        tensors::{self, UNITS, buffer, bytes, elements, multiprocessors},
    },
    Follows, Operands, VECTOR,
    part::{finished, part},
    rounds,
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
    /// Turns whose weights are on their way at once.
    ahead: usize,
    follows: Follows,
}

impl Plan {
    fn new(matrix: &DeviceMatrix, operands: &Operands, multiprocessors: usize) -> Self {
        let plan = Self {
            format: matrix.format(),
            rows: operands.rows,
            width: width(operands.outputs.iter().sum(), multiprocessors),
            ahead: 1,
            follows: operands.follows(),
        };
        let most = match plan.format {
            PackedFormat::Int4 => 2,
            PackedFormat::Int8 => 8,
            _ => 6,
        };
        let turns = operands.inputs.div_ceil(plan.turn());
        Self {
            ahead: rounds(turns.div_ceil(plan.slices()), most),
            ..plan
        }
    }

    /// Units side by side in an output's row, each with four outputs.
    fn lanes(self) -> usize {
        self.width / VECTOR
    }

    /// Units that sum one output.
    fn slices(self) -> usize {
        UNITS as usize / self.lanes()
    }

    /// Inputs of a turn: what a unit reads between two looks at where it is.
    fn turn(self) -> usize {
        match self.format {
            PackedFormat::Int4 => 32,
            _ => VECTOR,
        }
    }

    /// Reads of a turn, of four words each.
    fn reads(self) -> usize {
        match self.format {
            PackedFormat::Int4 => 5,
            PackedFormat::Int8 => 1,
            _ => 2,
        }
    }
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

/// The weights of input `k` of a read, for each of its four outputs.
#[cube]
fn weights<N: Size>(
    words: Vector<u32, N>,
    #[comptime] k: usize,
    #[comptime] format: PackedFormat,
) -> Vector<f32, N> {
    let mut weights = Vector::<f32, N>::new(0.0);
    #[unroll]
    for output in 0..comptime!(VECTOR) {
        let word = words.extract(output);
        let weight = if comptime!(format == PackedFormat::Int8) {
            byte((word ^ 0x8080_8080) >> comptime!(8 * k as u32))
        } else if comptime!(format == PackedFormat::Int4) {
            // A byte holds an input in its low four bits, and the fourth after it in its high ones.
            nibble(word >> comptime!(8 * (k as u32 % 4) + 4 * (k as u32 / 4)))
        } else if comptime!(k == 0) {
            f32::from_bits(word << 16)
        } else {
            f32::from_bits(word & 0xffff_0000)
        };
        weights.insert(output, weight);
    }
    weights
}

/// The scales of four outputs in a step of 4-bit integers.
#[cube]
fn scales<N: Size>(words: Vector<u32, N>, quad: usize) -> Vector<f32, N> {
    let even = quad % 2 == 0;
    let low = select(even, words.extract(0usize), words.extract(2usize));
    let high = select(even, words.extract(1usize), words.extract(3usize));
    let mut scales = Vector::<f32, N>::new(0.0);
    scales.insert(0usize, half_to_f32(low & 0xffff));
    scales.insert(1usize, half_to_f32(low >> 16));
    scales.insert(2usize, half_to_f32(high & 0xffff));
    scales.insert(3usize, half_to_f32(high >> 16));
    scales
}

/// Four inputs of a row; zeros beyond the last.
#[cube]
fn inputs<N: Size>(
    x: &[Vector<f32, N>],
    row: usize,
    vector: usize,
    vectors: usize,
) -> Vector<f32, N> {
    let there = select(vector < vectors, 1.0f32, 0.0f32);
    x[row * vectors + min(vector, vectors - 1)] * Vector::new(there)
}

/// What a unit reads of a matrix for the round that begins at the turn `first`: turns that are not there are
/// the last one.
#[cube]
fn round<N: Size>(
    read: &mut Array<Vector<u32, N>>,
    words: &[Vector<u32, N>],
    panel: usize,
    quad: usize,
    first: usize,
    turns: usize,
    #[comptime] plan: Plan,
) {
    let (slices, reads) = comptime!((plan.slices(), plan.reads()));
    #[unroll]
    for step in 0..comptime!(plan.ahead) {
        let turn = min(first + step * slices, turns - 1);
        #[unroll]
        for n in 0..reads {
            let at = if comptime!(plan.format == PackedFormat::Int4) {
                if comptime!(n == 4) {
                    turn * comptime!(INT4_STEP / 4) + 32 + quad / 2
                } else {
                    turn * comptime!(INT4_STEP / 4) + comptime!(8 * n) + quad
                }
            } else {
                (turn * reads + n) * 8 + quad
            };
            read[step * reads + n] = words[panel + at];
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn few_rows<N: Size>(
    words: Sequence<Box<[Vector<u32, N>]>>,
    x: &[Vector<f32, N>],
    biases: Sequence<Box<[f32]>>,
    residual: &[f32],
    y: &mut [f32],
    firsts: Sequence<usize>,
    outputs: Sequence<usize>,
    starts: Sequence<usize>,
    turns: usize,
    panel_reads: usize,
    vectors: usize,
    #[comptime] plan: Plan,
) {
    let (rows, width, lanes) = comptime!((plan.rows, plan.width, plan.lanes()));
    let (slices, ahead, reads) = comptime!((plan.slices(), plan.ahead, plan.reads()));
    let unit = UNIT_POS as usize;
    let (slice, lane) = (unit / lanes, unit % lanes);
    let parts = comptime!(PANEL / width);
    let own = part(CUBE_POS, &firsts, &outputs, &starts);
    // The four outputs' place among the eight fours of a panel.
    let quad = own.place % parts * lanes + lane;
    let panel = own.place / parts * panel_reads;

    let mut sums = Array::<Vector<f32, N>>::new(rows);
    #[unroll]
    for r in 0..rows {
        sums[r] = Vector::new(0.0);
    }
    let mut first = slice;
    while first < turns {
        let mut read = Array::<Vector<u32, N>>::new(comptime!(ahead * reads));
        #[unroll]
        for n in 0..words.len() {
            if own.matrix == n {
                round(&mut read, &words[n], panel, quad, first, turns, plan);
            }
        }
        #[unroll]
        for step in 0..ahead {
            let turn = first + step * slices;
            if comptime!(plan.format == PackedFormat::Int4) {
                let scales = scales(read[step * reads + 4], quad);
                // Turns that are not there have no inputs, whose zeros silence their weights.
                let vector = turn * 8;
                #[unroll]
                for r in 0..rows {
                    let mut sum = Vector::<f32, N>::new(0.0);
                    #[unroll]
                    for half in 0..8usize {
                        let x = inputs(x, r, vector + half, vectors);
                        #[unroll]
                        for k in 0..4usize {
                            let place = comptime!(half % 2 * 4 + k);
                            let read = read[step * reads + comptime!(half / 2)];
                            sum += weights(read, place, plan.format) * Vector::new(x.extract(k));
                        }
                    }
                    sums[r] += sum * scales;
                }
            } else {
                #[unroll]
                for r in 0..rows {
                    let x = inputs(x, r, turn, vectors);
                    #[unroll]
                    for k in 0..4usize {
                        let (part, place) = comptime!((k * reads / 4, k % (4 / reads)));
                        let read = read[step * reads + part];
                        sums[r] += weights(read, place, plan.format) * Vector::new(x.extract(k));
                    }
                }
            }
        }
        first += comptime!(ahead * slices);
    }
    if comptime!(plan.format == PackedFormat::Int8) {
        // Scales stand behind the steps of a panel.
        let mut scales = Vector::<f32, N>::new(0.0);
        #[unroll]
        for n in 0..words.len() {
            if own.matrix == n {
                let bits = words[n][panel + turns * 8 + quad];
                #[unroll]
                for k in 0..4usize {
                    scales.insert(k, f32::from_bits(bits.extract(k)));
                }
            }
        }
        #[unroll]
        for r in 0..rows {
            sums[r] *= scales;
        }
    }

    let mut shared = Shared::<[f32]>::new_slice(comptime!(UNITS as usize * VECTOR));
    #[unroll]
    for r in 0..rows {
        sync_cube();
        #[unroll]
        for k in 0..4usize {
            shared[slice * width + lane * 4 + k] = sums[r].extract(k);
        }
        fold(
            &mut shared,
            width.runtime(),
            slices,
            comptime!(UNITS as usize),
        );
        let output = own.place * width + unit;
        if unit < width && output < own.outputs {
            let place = own.start + r * own.outputs + output;
            y[place] = finished(
                shared[unit],
                &biases,
                residual,
                own.matrix,
                output,
                place,
                comptime!(plan.follows),
            );
        }
    }
}

/// The products with matrices that are held in the same format, one behind the other.
pub(super) fn products(operands: &Operands, matrices: &[&DeviceMatrix]) -> Option<CubeTensor> {
    let words = matrices.iter().map(|matrix| tensors::words(matrix));
    let words: Vec<CubeTensor> = words.collect::<Option<_>>()?;
    let client = &operands.x.client;
    let plan = Plan::new(matrices.first()?, operands, multiprocessors(client));
    // A panel is as large in each of them: they have the same inputs.
    let panel_reads = elements(words.first()?) / operands.outputs.first()?.div_ceil(PANEL) / VECTOR;
    let (firsts, panels) = operands.blocks(PANEL);
    let parts = PANEL / plan.width;
    let y = operands.result();
    operands.count(words.iter().map(bytes).sum());
    // SAFETY: matrices have the words that their format and shape make, by their construction; a unit reads
    // those of its panel, vectors of rows that `x` has, bias and residual where they are there, and
    // writes a number of its matrix's result.
    unsafe {
        few_rows::launch_unchecked(
            client,
            CubeCount::Static((panels * parts) as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            VECTOR,
            words
                .iter()
                .map(|words| buffer(words, elements(words) / VECTOR))
                .collect(),
            buffer(&operands.x, elements(&operands.x) / VECTOR),
            operands.biases(),
            operands.residual(),
            buffer(&y, elements(&y)),
            firsts.into_iter().map(|panel| panel * parts).collect(),
            operands.outputs.iter().copied().collect(),
            operands.starts().into_iter().collect(),
            operands.inputs.div_ceil(plan.turn()),
            panel_reads,
            operands.inputs / VECTOR,
            plan,
        );
    }
    Some(y)
}
