//! Many rows by matrix units: operands in `f16`, sums in `f32`, from the matrix as it is held to what follows
//! the product.
//!
//! A cube computes a block of the result: all its planes share the rows, and each has outputs of its own.
//! What the next round reads is on its way while this one is multiplied. Where there are too few blocks to
//! keep a device busy, several cubes share the inputs of one, and a second launch adds what they found.

#![allow(unsafe_code)] // launches of kernels

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::DType;
use burn_cubecl::{
    cubecl::{
        self,
        client::Client,
        cmma,
        features::MmaConfig,
        ir::{ElemType, FloatKind},
        prelude::*,
    },
    kernel::into_contiguous,
    tensor::CubeTensor,
};
use half::f16;

use super::{
    super::{
        count,
        tensors::{self, UNITS, any_float, buffer, bytes, elements, empty, multiprocessors},
    },
    Follows, Operands, VECTOR,
    many::narrowed,
    panels::{INT4_STEP, PANEL, byte, half_to_f32, nibble},
    part::{Part, finished, one_of, part},
};
use crate::matrix::{Matrix, packed::PackedFormat};

/// The side of what a matrix unit multiplies.
const SIDE: usize = 16;

/// Units of a plane, and planes of a cube.
const PLANE: usize = 32;
const PLANES: usize = 4;

/// Outputs of a cube.
const OUTPUTS: usize = SIDE * PLANES;

/// The most fragments of rows of a cube.
const MOST_FRAGMENTS: usize = 6;

/// Vectors of a line that a round takes, and those that a line has in shared memory, where neighbouring
/// lines then lie in different banks.
const DEPTH: usize = 8;
const STRIDE: usize = DEPTH + 2;

/// The fewest rounds of a cube that shares its block's inputs with others.
const FEWEST_ROUNDS: usize = 8;

/// How a product is cut, as a kernel is compiled for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Plan {
    /// `None` for a tensor.
    format: Option<PackedFormat>,
    matrices: usize,
    /// Rows of a cube, in fragments.
    fragments: usize,
    /// Whether several cubes share a block.
    shared: bool,
    units: MatrixUnits,
    follows: Follows,
}

/// The numbers of a unit's share of a fragment, where there are no matrix units: half a row.
const SHARE: usize = SIDE * SIDE / PLANE;

/// Whether the format is one of brain floats.
fn is_brain(format: Option<PackedFormat>) -> bool {
    format == Some(PackedFormat::Bf16)
}

/// Four inputs of an output of a packed matrix, integers of 8 bits without their scale, brain floats times
/// `factor`.
#[cube]
fn four<N: Size>(
    words: &[u32],
    factor: f32,
    output: usize,
    vector: usize,
    panel_words: usize,
    #[comptime] format: PackedFormat,
) -> Vector<f16, N> {
    let mut four = Vector::<f16, N>::new(f16::new(0.0));
    let (panel, inside) = (
        output / comptime!(PANEL) * panel_words,
        output % comptime!(PANEL),
    );
    if comptime!(format == PackedFormat::Int8) {
        let word = words[panel + vector * 32 + inside] ^ 0x8080_8080;
        #[unroll]
        for k in 0..4usize {
            four.insert(k, f16::cast_from(byte(word >> comptime!(8 * k as u32))));
        }
    } else if comptime!(is_brain(Some(format))) {
        #[unroll]
        for pair in 0..2usize {
            let word = words[panel + (vector * 2 + pair) * 32 + inside];
            let (even, odd) = (
                f32::from_bits(word << 16),
                f32::from_bits(word & 0xffff_0000),
            );
            four.insert(comptime!(2 * pair), f16::cast_from(even * factor));
            four.insert(comptime!(2 * pair + 1), f16::cast_from(odd * factor));
        }
    } else {
        let step = panel + vector / 8 * comptime!(INT4_STEP);
        let pair = words[step + 128 + inside / 2];
        let scale = half_to_f32((pair >> (16 * (inside as u32 % 2))) & 0xffff);
        let word = words[step + vector % 8 / 2 * 32 + inside] >> (4 * (vector as u32 % 2));
        #[unroll]
        for k in 0..4usize {
            let weight = nibble(word >> comptime!(8 * k as u32)) * scale;
            four.insert(k, f16::cast_from(weight));
        }
    }
    four
}

/// What a unit brings for a round that begins at the vector `first`: its share of the lines of `x` and of
/// the matrix. Lines that are not there are the last ones, and written nowhere; vectors from `end` on are
/// another cube's, or nobody's, and count as zeros.
#[cube]
#[allow(clippy::too_many_arguments)]
fn bring<N: Size>(
    next_x: &mut Array<Vector<f16, N>>,
    next_w: &mut Array<Vector<f16, N>>,
    dense: &Sequence<Box<[Vector<f16, N>]>>,
    words: &Sequence<Box<[u32]>>,
    factors: &Sequence<f32>,
    x: &[Vector<f16, N>],
    first_row: usize,
    rows: usize,
    own: &Part,
    first: usize,
    end: usize,
    vectors: usize,
    panel_words: usize,
    #[comptime] plan: Plan,
) {
    let units = comptime!(PLANE * PLANES);
    #[unroll]
    for n in 0..comptime!(plan.fragments) {
        let at = UNIT_POS as usize + comptime!(n * units);
        let (line, vector) = (at / comptime!(DEPTH), first + at % comptime!(DEPTH));
        let there = f16::cast_from(select(vector < end, 1.0f32, 0.0f32));
        let row = min(first_row + line, rows - 1);
        next_x[n] = x[row * vectors + min(vector, vectors - 1)] * Vector::new(there);
    }
    #[unroll]
    for matrix in 0..comptime!(plan.matrices) {
        if own.matrix == matrix {
            #[unroll]
            for n in 0..comptime!(OUTPUTS * DEPTH / units) {
                let at = UNIT_POS as usize + comptime!(n * units);
                let (line, vector) = (at / comptime!(DEPTH), first + at % comptime!(DEPTH));
                let vector = min(vector, vectors - 1);
                let output = min(own.place * comptime!(OUTPUTS) + line, own.outputs - 1);
                next_w[n] = match comptime!(plan.format) {
                    Some(format) => four(
                        &words[matrix],
                        factors[matrix],
                        output,
                        vector,
                        panel_words,
                        format,
                    ),
                    None => dense[matrix][output * vectors + vector],
                };
            }
        }
    }
}

/// What follows a sum: the scales of its row and of its weights, and what else is wanted.
#[cube]
#[allow(clippy::too_many_arguments)]
fn behind(
    sum: f32,
    words: &Sequence<Box<[u32]>>,
    factors: &Sequence<f32>,
    scales: &[f32],
    biases: &Sequence<Box<[f32]>>,
    residual: &[f32],
    row: usize,
    output: usize,
    own: &Part,
    vectors: usize,
    panel_words: usize,
    #[comptime] plan: Plan,
) -> f32 {
    let mut sum = sum * scales[row];
    if comptime!(plan.format == Some(PackedFormat::Int8)) {
        let panel = output / comptime!(PANEL) * panel_words;
        let at = panel + vectors * 32 + output % comptime!(PANEL);
        sum *= f32::from_bits(one_of::<u32>(words, own.matrix, at));
    }
    if comptime!(is_brain(plan.format)) {
        #[unroll]
        for matrix in 0..comptime!(plan.matrices) {
            if own.matrix == matrix {
                sum /= factors[matrix];
            }
        }
    }
    finished(
        sum,
        biases,
        residual,
        own.matrix,
        output,
        own.start + row * own.outputs + output,
        comptime!(plan.follows),
    )
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn block<N: Size>(
    dense: Sequence<Box<[Vector<f16, N>]>>,
    words: Sequence<Box<[u32]>>,
    factors: Sequence<f32>,
    x: &[Vector<f16, N>],
    scales: &[f32],
    biases: Sequence<Box<[f32]>>,
    residual: &[f32],
    y: &mut [f32],
    firsts: Sequence<usize>,
    outputs: Sequence<usize>,
    starts: Sequence<usize>,
    rows: usize,
    wide: usize,
    len: usize,
    vectors: usize,
    panel_words: usize,
    rounds: usize,
    cubes: usize,
    #[comptime] plan: Plan,
) {
    if CUBE_POS >= cubes {
        terminate!();
    }
    let units = comptime!(PLANE * PLANES);
    let fragments = comptime!(plan.fragments);
    let unit = UNIT_POS as usize;
    let (plane, lane) = (unit / comptime!(PLANE), unit % comptime!(PLANE));
    // Cubes of the same outputs are neighbours, which read the same weights.
    let high = rows.div_ceil(comptime!(fragments * SIDE));
    let first_row = CUBE_POS % high * comptime!(fragments * SIDE);
    let own = part(CUBE_POS / high % wide, &firsts, &outputs, &starts);
    let share = CUBE_POS / high / wide;
    let mut first = share * rounds * comptime!(DEPTH);
    let end = min(first + rounds * comptime!(DEPTH), vectors);

    let mut xs = Shared::<[Vector<f16, N>]>::new_slice(comptime!(fragments * SIDE * STRIDE));
    let mut ws = Shared::<[Vector<f16, N>]>::new_slice(comptime!(OUTPUTS * STRIDE));
    let mut sums = Shared::<[f32]>::new_slice(comptime!(SIDE * OUTPUTS));
    let mut next_x = Array::<Vector<f16, N>>::new(fragments);
    let mut next_w = Array::<Vector<f16, N>>::new(comptime!(OUTPUTS * DEPTH / units));
    let mut blocks = Sequence::<cmma::Matrix<f32>>::new();
    let mut singles = Array::<f32>::new(comptime!(fragments * SHARE));
    if comptime!(plan.units == MatrixUnits::Own) {
        #[unroll]
        for _ in 0..fragments {
            blocks.push(cmma::Matrix::<f32>::from_value(
                cmma::MatrixIdent::Accumulator,
                16usize,
                16usize,
                16usize,
                cmma::MatrixLayout::Undefined,
                0.0,
            ));
        }
    } else {
        #[unroll]
        for n in 0..comptime!(fragments * SHARE) {
            singles[n] = 0.0;
        }
    }
    bring(
        &mut next_x,
        &mut next_w,
        &dense,
        &words,
        &factors,
        x,
        first_row,
        rows,
        &own,
        first,
        end,
        vectors,
        panel_words,
        plan,
    );
    while first < end {
        #[unroll]
        for n in 0..fragments {
            let at = unit + comptime!(n * units);
            xs[at / comptime!(DEPTH) * comptime!(STRIDE) + at % comptime!(DEPTH)] = next_x[n];
        }
        #[unroll]
        for n in 0..comptime!(OUTPUTS * DEPTH / units) {
            let at = unit + comptime!(n * units);
            ws[at / comptime!(DEPTH) * comptime!(STRIDE) + at % comptime!(DEPTH)] = next_w[n];
        }
        sync_cube();
        first += comptime!(DEPTH);
        bring(
            &mut next_x,
            &mut next_w,
            &dense,
            &words,
            &factors,
            x,
            first_row,
            rows,
            &own,
            first,
            end,
            vectors,
            panel_words,
            plan,
        );
        let lines = plane * comptime!(SIDE * STRIDE);
        if comptime!(plan.units == MatrixUnits::Own) {
            #[unroll]
            for step in 0..comptime!(DEPTH * VECTOR / SIDE) {
                let from = lines + comptime!(step * SIDE / VECTOR);
                let w = cmma::Matrix::<Vector<f16, N>>::from_slice(
                    cmma::MatrixIdent::B,
                    16usize,
                    16usize,
                    16usize,
                    cmma::MatrixLayout::ColMajor,
                    &ws[from..from + comptime!(SIDE * STRIDE - step * SIDE / VECTOR)],
                    comptime!((STRIDE * VECTOR) as u32).runtime(),
                );
                #[unroll]
                for n in 0..fragments {
                    let from = comptime!(n * SIDE * STRIDE + step * SIDE / VECTOR).runtime();
                    let x = cmma::Matrix::<Vector<f16, N>>::from_slice(
                        cmma::MatrixIdent::A,
                        16usize,
                        16usize,
                        16usize,
                        cmma::MatrixLayout::RowMajor,
                        &xs[from..from + comptime!(SIDE * STRIDE - step * SIDE / VECTOR)],
                        comptime!((STRIDE * VECTOR) as u32).runtime(),
                    );
                    cmma::execute(&x, &w, &blocks[n], &blocks[n]);
                }
            }
        } else {
            for n in 0..fragments {
                let row = n * comptime!(SIDE) + lane / 2;
                for k in 0..comptime!(SHARE) {
                    let output = lane % 2 * comptime!(SHARE) + k;
                    let mut sum = 0.0f32;
                    for vector in 0..comptime!(DEPTH) {
                        let x = xs[row * comptime!(STRIDE) + vector];
                        let w = ws[lines + output * comptime!(STRIDE) + vector];
                        #[unroll]
                        for e in 0..comptime!(VECTOR) {
                            sum += f32::cast_from(x.extract(e)) * f32::cast_from(w.extract(e));
                        }
                    }
                    singles[n * comptime!(SHARE) + k] += sum;
                }
            }
        }
        sync_cube();
    }

    // A fragment of rows at a time: shared memory is what most cubes wait for.
    let from = plane * comptime!(SIDE);
    let output = own.place * comptime!(OUTPUTS) + unit % comptime!(OUTPUTS);
    #[unroll]
    for n in 0..fragments {
        if comptime!(plan.units == MatrixUnits::Own) {
            cmma::store(
                &mut sums[from..from + comptime!(SIDE * OUTPUTS - OUTPUTS + SIDE)],
                &blocks[n],
                comptime!(OUTPUTS as u32).runtime(),
                cmma::MatrixLayout::RowMajor,
            );
        } else {
            for k in 0..comptime!(SHARE) {
                let output = lane % 2 * comptime!(SHARE) + k;
                sums[from + lane / 2 * comptime!(OUTPUTS) + output] =
                    singles[comptime!(n * SHARE) + k];
            }
        }
        sync_cube();
        let mut line = unit / comptime!(OUTPUTS);
        while line < comptime!(SIDE) {
            let row = first_row + comptime!(n * SIDE) + line;
            if row < rows && output < own.outputs {
                let sum = sums[line * comptime!(OUTPUTS) + unit % comptime!(OUTPUTS)];
                let place = own.start + row * own.outputs + output;
                if comptime!(plan.shared) {
                    y[share * len + place] = sum;
                } else {
                    y[place] = behind(
                        sum,
                        &words,
                        &factors,
                        scales,
                        &biases,
                        residual,
                        row,
                        output,
                        &own,
                        vectors,
                        panel_words,
                        plan,
                    );
                }
            }
            line += comptime!(PLANE * PLANES / OUTPUTS);
        }
        sync_cube();
    }
}

/// Adds what the cubes of each block found, in their order.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn join(
    parts: &[f32],
    words: Sequence<Box<[u32]>>,
    factors: Sequence<f32>,
    scales: &[f32],
    biases: Sequence<Box<[f32]>>,
    residual: &[f32],
    y: &mut [f32],
    outputs: Sequence<usize>,
    starts: Sequence<usize>,
    rows: usize,
    vectors: usize,
    panel_words: usize,
    shares: usize,
    len: usize,
    #[comptime] plan: Plan,
) {
    let place = ABSOLUTE_POS;
    let own = part(place, &starts, &outputs, &starts);
    let (row, output) = (own.place / own.outputs, own.place % own.outputs);
    // Between two results there may be numbers that are none.
    if place < len && row < rows {
        let mut sum = 0.0f32;
        for share in 0..shares {
            sum += parts[share * len + place];
        }
        y[place] = behind(
            sum,
            &words,
            &factors,
            scales,
            &biases,
            residual,
            row,
            output,
            &own,
            vectors,
            panel_words,
            plan,
        );
    }
}

/// How many blocks of rows, of how many fragments each, so that little is computed that nobody wants.
fn blocks_of_rows(rows: usize) -> [usize; 2] {
    let fragments = rows.div_ceil(SIDE);
    let blocks = fragments.div_ceil(MOST_FRAGMENTS);
    [blocks, fragments.div_ceil(blocks)]
}

/// Who multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MatrixUnits {
    /// The device's own.
    Own,
    /// Nobody: the same numbers are multiplied one by one, to see that they are the right ones.
    Emulated,
}

/// Whether units are emulated where there are none.
static EMULATED: AtomicBool = AtomicBool::new(false);

/// As [`crate::device::emulate_matrix_units`].
pub(crate) fn emulate(emulated: bool) {
    EMULATED.store(emulated, Ordering::Relaxed);
}

/// The device's matrix units, if the kernel knows them: squares of 16 that planes of 32 share.
pub(super) fn units(client: &Client) -> Option<MatrixUnits> {
    let properties = client.properties();
    let hardware = &properties.hardware;
    let planes = [hardware.plane_size_min, hardware.plane_size_max] == [PLANE as u32; 2];
    let [half, single] = [FloatKind::F16, FloatKind::F32].map(ElemType::Float);
    let squares = |unit: &MmaConfig| {
        let types = unit.a_type == half && unit.b_type == half && unit.cd_type == single;
        types && [unit.m, unit.n, unit.k] == [SIDE as u32; 3]
    };
    if planes && properties.features.matmul.cmma.iter().any(squares) {
        return Some(MatrixUnits::Own);
    }
    let emulated = EMULATED.load(Ordering::Relaxed);
    emulated.then_some(MatrixUnits::Emulated)
}

/// As [`crate::device::multiplies_as_held`].
pub(crate) fn multiplies_as_held(client: &Client) -> bool {
    units(client).is_some()
}

/// Whether the kernel reads this matrix.
pub(super) fn reads(matrix: &Matrix) -> bool {
    let lies_so = match matrix {
        Matrix::Dense(weight) => weight.val().dtype() == DType::F16,
        Matrix::OnDevice(matrix) => !matrix.format().is_float() || matrix.half_factor().is_some(),
        Matrix::Packed(_) => false,
    };
    lies_so && matrix.inputs().is_multiple_of(VECTOR)
}

/// A matrix as the kernel reads it: its format, if it is packed, and its numbers.
fn lying(matrix: &Matrix) -> Option<(Option<PackedFormat>, CubeTensor)> {
    match matrix {
        matrix if !reads(matrix) => None,
        Matrix::OnDevice(matrix) => Some((Some(matrix.format()), tensors::words(matrix)?)),
        Matrix::Dense(weight) => Some((None, into_contiguous(any_float(&weight.val())?))),
        Matrix::Packed(_) => None,
    }
}

/// The products with matrices that are held alike, one behind the other; `None` for a matrix that the kernel
/// does not [read](reads).
pub(super) fn products(
    operands: &Operands,
    matrices: &[&Matrix],
    units: MatrixUnits,
) -> Option<CubeTensor> {
    let lying = matrices
        .iter()
        .map(|matrix| lying(matrix))
        .collect::<Option<Vec<_>>>()?;
    let format = lying.first()?.0;
    let held: Vec<CubeTensor> = lying.into_iter().map(|(_, held)| held).collect();
    let (rows, vectors) = (operands.rows, operands.inputs / VECTOR);
    let (x, scales) = &narrowed(&operands.x, [rows, operands.inputs]);
    let [high, fragments] = blocks_of_rows(rows);
    let (firsts, wide) = operands.blocks(OUTPUTS);
    let blocks = high * wide;
    let all_rounds = vectors.div_ceil(DEPTH);
    // Two blocks for each multiprocessor, if each has enough to do.
    let wanted = (2 * multiprocessors(&x.client)).div_ceil(blocks);
    let rounds = all_rounds.div_ceil(wanted.clamp(1, all_rounds.div_ceil(FEWEST_ROUNDS)));
    let shares = all_rounds.div_ceil(rounds);
    let plan = Plan {
        format,
        matrices: matrices.len(),
        fragments,
        shared: shares > 1,
        units,
        follows: operands.follows(),
    };
    let (result, len) = (operands.result(), operands.len());
    let written = match plan.shared {
        true => empty(x, [shares * len], DType::F32),
        false => result.clone(),
    };
    let weights = held.iter().map(bytes).sum::<usize>();
    count::moves(weights + 2 * rows * operands.inputs + shares * operands.written());
    let dense = || match format {
        Some(_) => SequenceArg::new(),
        None => held
            .iter()
            .map(|held| buffer(held, elements(held) / VECTOR))
            .collect(),
    };
    let words = || match format {
        Some(_) => held
            .iter()
            .map(|held| buffer(held, elements(held)))
            .collect(),
        None => SequenceArg::new(),
    };
    let factors = || {
        let each = matrices.iter().map(|matrix| match matrix {
            Matrix::OnDevice(matrix) => matrix.half_factor().unwrap_or(1.0),
            _ => 1.0,
        });
        each.collect()
    };
    let outputs = || operands.outputs.iter().copied().collect();
    let starts = || operands.starts().into_iter().collect();
    // A panel is as large in each of them: they have the same inputs.
    let panel_words = elements(held.first()?) / operands.outputs.first()?.div_ceil(PANEL);
    // SAFETY: a unit reads vectors of rows that `x` has and of outputs that its matrix has, by their shapes,
    // and the scales of those, bias and residual where they are there; it writes numbers of its cube's block
    // alone, of the result or of its share of it.
    unsafe {
        block::launch_unchecked(
            &x.client,
            tensors::cubes(blocks * shares),
            CubeDim::new_1d((PLANE * PLANES) as u32),
            VECTOR,
            dense(),
            words(),
            factors(),
            buffer(x, elements(x) / VECTOR),
            buffer(scales, elements(scales)),
            operands.biases(),
            operands.residual(),
            buffer(&written, elements(&written)),
            firsts.into_iter().collect(),
            outputs(),
            starts(),
            rows,
            wide,
            len,
            vectors,
            panel_words,
            rounds,
            blocks * shares,
            plan,
        );
    }
    if plan.shared {
        count::moves((shares + 1) * operands.written());
        // SAFETY: a unit reads a number of each share and what follows it, where that is there, and writes
        // a number of the result.
        unsafe {
            join::launch_unchecked(
                &x.client,
                tensors::cubes(len.div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                buffer(&written, elements(&written)),
                words(),
                factors(),
                buffer(scales, elements(scales)),
                operands.biases(),
                operands.residual(),
                buffer(&result, elements(&result)),
                outputs(),
                starts(),
                rows,
                vectors,
                panel_words,
                shares,
                len,
                plan,
            );
        }
    }
    Some(result)
}
