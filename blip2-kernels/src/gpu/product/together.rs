//! Matrices that multiply the same rows, in one launch: queries, keys and values, or what is inside a gated MLP.
//!
//! Each cube belongs to one of the matrices, and their results lie one behind the other in one buffer.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::{
    cubecl::{self, client::Client, prelude::*},
    tensor::CubeTensor,
};

use super::{FEW, Operands, SOME, VECTOR, few_rows, halves};
use crate::{
    gpu::{
        count,
        tensors::{self, UNITS, as_it_lies, buffer, elements, lower},
    },
    kernel::activation::Activation,
    matrix::{Affine, Matrix, packed::PackedFormat},
};

/// Each of several results is padded to a multiple of this length: every device can bind a buffer that begins
/// there (CUDA's alignment is 512 bytes, WebGPU's 256).
const APART: usize = 128;

/// As [`crate::seam::linears`], in one launch; `None` also where a launch for each serves as well.
pub(crate) fn linears<const N: usize, const D: usize>(
    x: &Tensor<D>,
    layers: &[Affine<'_>; N],
) -> Option<[Tensor<D>; N]> {
    let (operands, results) = products(x, layers, None)?;
    let mut shape = x.dims();
    let apart = operands.apart(&results).into_iter().map(|result| {
        shape[D - 1] = result.meta.shape()[1];
        tensors::lift::<2>(result).reshape(shape)
    });
    apart.collect::<Vec<_>>().try_into().ok()
}

/// As [`crate::seam::gated`], in two launches; `None` as of [`linears`].
pub(crate) fn gated<const D: usize>(
    x: &Tensor<D>,
    layers: &[Affine<'_>; 2],
    activation: Activation,
) -> Option<Tensor<D>> {
    let [outputs, other] = layers.each_ref().map(|layer| layer.matrix.outputs());
    if outputs != other {
        return None;
    }
    let (operands, results) = products(x, layers, Some(activation))?;
    let len = operands.rows * outputs;
    let second = operands.starts().pop()?;
    count::moves(3 * size_of::<f32>() * len);
    // SAFETY: a unit reads a number of each result and writes the first one's: both have `len`, and the second
    // begins behind the first.
    unsafe {
        gate::launch_unchecked(
            &results.client,
            tensors::cubes(len.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            buffer(&results, elements(&results)),
            second,
            len,
        );
    }
    let mut shape = x.dims();
    shape[D - 1] = outputs;
    // The second result goes with the first, in whose memory it lies.
    let gated = operands.apart(&results).swap_remove(0);
    Some(tensors::lift::<2>(gated).reshape(shape))
}

/// Multiplies the first result by the second, in its place: as tensors, neither would be its memory's only owner,
/// and a third would be made.
#[cube(launch_unchecked)]
fn gate(results: &mut [f32], second: usize, len: usize) {
    if ABSOLUTE_POS < len {
        results[ABSOLUTE_POS] *= results[second + ABSOLUTE_POS];
    }
}

/// The products of `x` with the layers' matrices and what follows them, the activation of the first alone: what
/// was multiplied, and the results one behind the other.
fn products<const D: usize>(
    x: &Tensor<D>,
    layers: &[Affine<'_>],
    activation: Option<Activation>,
) -> Option<(Operands, CubeTensor)> {
    let (shape, client) = (x.dims(), as_it_lies(x)?.client);
    let (inputs, rows) = (shape[D - 1], shape[..D - 1].iter().product::<usize>());
    let matrices: Vec<&Matrix> = layers.iter().map(|layer| layer.matrix).collect();
    let outputs: Vec<usize> = matrices.iter().map(|matrix| matrix.outputs()).collect();
    let units = match rows {
        ..=FEW => None,
        _ if rows > SOME && matrices.iter().all(|matrix| halves::reads(matrix)) => {
            Some(halves::units(&client)?)
        }
        _ => return None,
    };
    let held_as = held(matrices.first()?);
    let alike = |matrix: &&Matrix| matrix.inputs() == inputs && held(matrix) == held_as;
    let biases: Vec<_> = layers
        .iter()
        .filter_map(|layer| layer.bias.as_ref())
        .collect();
    let all_or_none = [0, layers.len()].contains(&biases.len());
    let something = rows * inputs > 0 && inputs.is_multiple_of(VECTOR) && !outputs.contains(&0);
    if !(something && all_or_none && matrices.iter().all(alike)) {
        return None;
    }
    let each = if biases.is_empty() { 1 } else { 2 };
    if !binds(&client, layers.len() * each) || !allocates(&client, rows, &outputs) {
        return None;
    }
    let biases = biases.into_iter().map(lower).collect::<Option<_>>();
    let operands = Operands {
        x: lower(x)?,
        biases: biases?,
        residual: None,
        activation,
        rows,
        inputs,
        outputs,
    };
    let results = match units {
        Some(units) => halves::products(&operands, &matrices, units)?,
        None => few_rows(&operands, &matrices)?,
    };
    Some((operands, results))
}

/// What a matrix is held as, as far as kernels tell it apart.
fn held(matrix: &Matrix) -> (Option<DType>, Option<PackedFormat>) {
    match matrix {
        Matrix::Dense(weight) => (Some(weight.val().dtype()), None),
        matrix => (None, matrix.packed_format()),
    }
}

/// Whether kernels of the device can be given this number of buffers beside `x`, and a result that begins where
/// another ends.
fn binds(client: &Client, buffers: usize) -> bool {
    /// `x` and its scales, what is added to the result, the result, and CubeCL's own.
    const BESIDE: usize = 5;
    let properties = client.properties();
    let begins = properties.memory.alignment.max(1);
    let apart = (size_of::<f32>() * APART) as u64;
    properties.hardware.max_bindings as usize >= buffers + BESIDE && apart.is_multiple_of(begins)
}

/// Whether the device has a piece of memory as large as all results.
fn allocates(client: &Client, rows: usize, outputs: &[usize]) -> bool {
    let (_, len) = places(rows, outputs);
    (size_of::<f32>() * len) as u64 <= client.properties().memory.max_page_size
}

/// Where each matrix's result begins, and where the last one ends.
fn places(rows: usize, outputs: &[usize]) -> (Vec<usize>, usize) {
    let sizes = outputs.iter().map(|outputs| rows * outputs);
    running(sizes.map(|size| match outputs {
        [_] => size,
        _ => size.next_multiple_of(APART),
    }))
}

impl Operands {
    /// Where each matrix's result begins.
    pub(super) fn starts(&self) -> Vec<usize> {
        places(self.rows, &self.outputs).0
    }

    /// The numbers of all results, with what is between them.
    pub(super) fn len(&self) -> usize {
        places(self.rows, &self.outputs).1
    }

    /// The first block of each matrix, where a block has `width` outputs, and how many blocks there are.
    pub(super) fn blocks(&self, width: usize) -> (Vec<usize>, usize) {
        running(self.outputs.iter().map(|outputs| outputs.div_ceil(width)))
    }

    /// The results, each `[rows, outputs]`, of the buffer in which they lie.
    pub(super) fn apart(&self, results: &CubeTensor) -> Vec<CubeTensor> {
        let (starts, end) = places(self.rows, &self.outputs);
        let result = |(&start, &outputs): (&usize, &usize)| {
            let bytes = |numbers: usize| (numbers * size_of::<f32>()) as u64;
            let mut handle = results.handle.clone();
            if self.outputs.len() > 1 {
                let behind = end - start - self.rows * outputs;
                handle = handle.offset_start(bytes(start)).offset_end(bytes(behind));
            }
            CubeTensor::new_contiguous(
                results.client.clone(),
                results.device.clone(),
                [self.rows, outputs].into(),
                handle,
                results.dtype,
            )
        };
        starts.iter().zip(&self.outputs).map(result).collect()
    }

    /// The buffers of the biases, none where there are none.
    pub(super) fn biases(&self) -> SequenceArg<Box<[f32]>> {
        let biases = self.biases.iter();
        biases.map(|bias| buffer(bias, elements(bias))).collect()
    }

    /// The buffer of the residual; `x` stands for one that is not there, and is not read.
    pub(super) fn residual(&self) -> BufferArg {
        let tensor = self.residual.as_ref().unwrap_or(&self.x);
        buffer(tensor, elements(tensor))
    }
}

/// The sum before each size, and of all.
fn running(sizes: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let mut sum = 0;
    let before = sizes.map(|size| {
        sum += size;
        sum - size
    });
    (before.collect(), sum)
}
