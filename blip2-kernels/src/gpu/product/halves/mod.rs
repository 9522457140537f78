//! Many rows by matrix units: operands in `f16`, sums in `f32`, from the matrix as it is held to what follows
//! the product.
//!
//! A cube computes a block of the result: all its planes share the rows, and each has outputs of its own.
//! What the next round reads is on its way while this one is multiplied. Where there are too few blocks to
//! keep a device busy, several cubes share the inputs of one, and a second launch adds what they found.

#![allow(unsafe_code)] // launches of kernels

mod finish;
mod kernel;
mod units;
mod weights;

use burn::tensor::DType;
use burn_cubecl::{cubecl::prelude::*, kernel::into_contiguous, tensor::CubeTensor};

use super::{
    super::{
        count,
        tensors::{self, UNITS, any_float, buffer, bytes, elements, empty, multiprocessors},
    },
    Follows, Operands, VECTOR,
    many::narrowed,
    panels::PANEL,
};
use crate::matrix::{Matrix, packed::PackedFormat};

use {finish::join, kernel::block};

pub(super) use units::{MatrixUnits, units};
pub(crate) use units::{emulate, multiplies_as_held};

/// The side of what a matrix unit multiplies.
const SIDE: usize = 16;

/// Units of a plane, and planes of a cube.
const PLANE: usize = 32;
const PLANES: usize = 4;

/// Outputs of a cube.
const OUTPUTS: usize = SIDE * PLANES;

/// The most fragments of rows of a cube.
const MOST_FRAGMENTS: usize = 6;

/// Vectors of a line that a round takes.
const DEPTH: usize = 8;

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

/// How many blocks of rows, of how many fragments each, so that little is computed that nobody wants.
fn blocks_of_rows(rows: usize) -> [usize; 2] {
    let fragments = rows.div_ceil(SIDE);
    let blocks = fragments.div_ceil(MOST_FRAGMENTS);
    [blocks, fragments.div_ceil(blocks)]
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
