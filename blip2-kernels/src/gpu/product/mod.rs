//! Products of activations and matrices.
//!
//! A few rows (decoding, beams, small batches) read every weight once, in the format in which it is
//! held, and sum in `f32`. So do some rows (queries, prompts) and, in `f32`, any number of them, in
//! squares of the result. Many rows (image encoder, prompts) of matrices that are held narrower are given
//! to matrix units where the device has such: `f16` operands and sums in `f32`, by a kernel of this crate
//! or, of units that it does not know, by Burn's product.

mod activation;
mod dense;
mod halves;
mod many;
mod panels;
mod part;
mod tiles;
mod together;
mod widen;

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;

use super::{
    count,
    tensors::{self, as_it_lies, lower, lower_optional},
};
use crate::{
    kernel::{activation::Activation, product::epilogue::Epilogue},
    matrix::{Matrix, device::DeviceMatrix},
};

pub(crate) use halves::{emulate, multiplies_as_held};
pub(crate) use together::{gated, linears};
pub(super) use {many::multiplies_halves, panels::PANEL, widen::weight};

/// A packed matrix as a tensor `[outputs, inputs]` of `f32`, in the memory where it lies.
pub(crate) fn widened(matrix: &DeviceMatrix) -> Option<Tensor<2>> {
    let widened = widen::widened(matrix, false)?;
    Some(tensors::lift::<2>(widened).transpose())
}

/// The most rows that are few: beyond them, reading a weight once costs more than it saves.
const FEW: usize = 8;

/// The most rows whose product is better computed in one launch than by matrix units in several.
const SOME: usize = 32;

/// As [`crate::seam::linear`].
pub(crate) fn linear<const D: usize>(
    x: &Tensor<D>,
    matrix: &Matrix,
    epilogue: &Epilogue<Tensor<1>, Tensor<D>>,
) -> Option<Tensor<D>> {
    if !tensors::serves(&x.device()) {
        return None;
    }
    let mut shape = x.dims();
    let inputs = matrix.inputs();
    let rows = shape[..D - 1].iter().product::<usize>();
    if rows == 0 || inputs == 0 || !inputs.is_multiple_of(VECTOR) {
        return many::linear(x, matrix, epilogue);
    }
    // Matrix units pay where there is much to multiply.
    let units = match rows > SOME && halves::reads(matrix) {
        true => halves::units(&as_it_lies(x)?.client),
        false => None,
    };
    if units.is_none() && rows > SOME && many::has_matrix_units(x, matrix) {
        return many::linear(x, matrix, epilogue);
    }
    let operands = Operands {
        x: lower(x)?,
        biases: lower_optional(epilogue.bias.as_ref())?
            .into_iter()
            .collect(),
        residual: lower_optional(epilogue.residual.as_ref())?,
        activation: epilogue.activation,
        rows,
        inputs,
        outputs: vec![matrix.outputs()],
    };
    shape[D - 1] = matrix.outputs();
    let y = match (units, matrix) {
        (Some(units), matrix) => halves::products(&operands, &[matrix], units)?,
        (None, matrix) if rows > FEW => tiles::product(&operands, matrix)?,
        (None, matrix) => few_rows(&operands, &[matrix])?,
    };
    let y = operands.apart(&y).pop()?;
    Some(tensors::lift::<2>(y).reshape(shape))
}

/// The products of a few rows with matrices that are held alike, one behind the other.
fn few_rows(operands: &Operands, matrices: &[&Matrix]) -> Option<CubeTensor> {
    let dense = matrices.iter().map(|matrix| match matrix {
        Matrix::Dense(weight) => Some(weight.val()),
        _ => None,
    });
    if let Some(dense) = dense.collect::<Option<Vec<_>>>() {
        return dense::products(operands, &dense);
    }
    let packed = matrices.iter().map(|matrix| match matrix {
        Matrix::OnDevice(matrix) => Some(matrix),
        _ => None,
    });
    panels::products(operands, &packed.collect::<Option<Vec<_>>>()?)
}

/// The numbers of `x` that a unit reads at a time.
const VECTOR: usize = 4;

/// Of `turns`, how many to take at once, in rounds of at most `most` that are all alike.
fn rounds(turns: usize, most: usize) -> usize {
    turns.div_ceil(turns.div_ceil(most).max(1)).max(1)
}

/// What a product reads beside its matrix, or its matrices, which have the same inputs.
struct Operands {
    /// `[rows, inputs]`
    x: CubeTensor,
    /// Of each matrix `[outputs]`, or none.
    biases: Vec<CubeTensor>,
    /// `[rows, outputs]`, of a single matrix.
    residual: Option<CubeTensor>,
    /// Of the first matrix.
    activation: Option<Activation>,
    rows: usize,
    inputs: usize,
    /// Of each matrix.
    outputs: Vec<usize>,
}

impl Operands {
    /// Results that are not yet written, see [`apart`](Self::apart).
    fn result(&self) -> CubeTensor {
        tensors::empty(&self.x, [self.len()], DType::F32)
    }

    /// Counts what a product of few rows reads and writes beside the matrices, whose size this is.
    fn count(&self, matrices: usize) {
        let beside = self.biases.iter().chain(&self.residual).map(tensors::bytes);
        count::moves(matrices + tensors::bytes(&self.x) + beside.sum::<usize>() + self.written());
    }

    /// The bytes of all results.
    fn written(&self) -> usize {
        size_of::<f32>() * self.rows * self.outputs.iter().sum::<usize>()
    }

    /// What follows the sums, as kernels are compiled for it.
    fn follows(&self) -> Follows {
        Follows {
            bias: !self.biases.is_empty(),
            activation: self.activation,
            residual: self.residual.is_some(),
        }
    }
}

/// What follows the sums of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Follows {
    bias: bool,
    activation: Option<Activation>,
    residual: bool,
}
