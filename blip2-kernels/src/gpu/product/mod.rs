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
mod tiles;
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
        bias: lower_optional(epilogue.bias.as_ref())?,
        residual: lower_optional(epilogue.residual.as_ref())?,
        activation: epilogue.activation,
        rows,
        inputs,
        outputs: matrix.outputs(),
    };
    shape[D - 1] = operands.outputs;
    let y = match (units, matrix) {
        (Some(units), matrix) => halves::product(&operands, matrix, units)?,
        (None, matrix) if rows > FEW => tiles::product(&operands, matrix)?,
        (None, Matrix::Dense(weight)) => dense::product(&operands, &weight.val())?,
        (None, Matrix::OnDevice(matrix)) => panels::product(&operands, matrix)?,
        (None, Matrix::Packed(_)) => return None,
    };
    Some(tensors::lift::<2>(y).reshape(shape))
}

/// The numbers of `x` that a unit reads at a time.
const VECTOR: usize = 4;

/// Of `turns`, how many to take at once, in rounds of at most `most` that are all alike.
fn rounds(turns: usize, most: usize) -> usize {
    turns.div_ceil(turns.div_ceil(most).max(1)).max(1)
}

/// What a product of few rows reads beside the matrix.
struct Operands {
    /// `[rows, inputs]`
    x: CubeTensor,
    /// `[outputs]`
    bias: Option<CubeTensor>,
    /// `[rows, outputs]`
    residual: Option<CubeTensor>,
    activation: Option<Activation>,
    rows: usize,
    inputs: usize,
    outputs: usize,
}

impl Operands {
    /// A result that is not yet written.
    fn result(&self) -> CubeTensor {
        tensors::empty(&self.x, [self.rows, self.outputs], DType::F32)
    }

    /// Counts what a product of few rows reads and writes beside the matrix, whose size this is.
    fn count(&self, matrix: usize, y: &CubeTensor) {
        let beside = [
            Some(&self.x),
            self.bias.as_ref(),
            self.residual.as_ref(),
            Some(y),
        ];
        let beside = beside.into_iter().flatten().map(tensors::bytes);
        count::moves(matrix + beside.sum::<usize>());
    }

    /// What follows the sums, as kernels are compiled for it.
    fn follows(&self) -> Follows {
        Follows {
            bias: self.bias.is_some(),
            activation: self.activation,
            residual: self.residual.is_some(),
        }
    }

    /// The buffers of bias and residual; `x` stands for one that is not there, and is not read.
    fn behind(&self) -> [burn_cubecl::cubecl::prelude::BufferArg; 2] {
        [&self.bias, &self.residual].map(|tensor| {
            let tensor = tensor.as_ref().unwrap_or(&self.x);
            tensors::buffer(tensor, tensors::elements(tensor))
        })
    }
}

/// What follows the sums of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Follows {
    bias: bool,
    activation: Option<Activation>,
    residual: bool,
}
