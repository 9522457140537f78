//! Rows of a table that is held packed.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl::{self, prelude::*};

use super::{
    count,
    product::{PANEL, weight},
    tensors::{self, UNITS, buffer, bytes, elements, empty, lift, lower_integers},
};
use crate::matrix::{device::DeviceMatrix, packed::PackedFormat};

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn rows<I: Int>(
    words: &[u32],
    indices: &[I],
    y: &mut [f32],
    panel_words: usize,
    steps: usize,
    inputs: usize,
    len: usize,
    #[comptime] format: PackedFormat,
) {
    if ABSOLUTE_POS < len {
        let row = usize::cast_from(indices[ABSOLUTE_POS / inputs]);
        let (panel, inside) = (row / comptime!(PANEL) * panel_words, row % comptime!(PANEL));
        let input = ABSOLUTE_POS % inputs;
        y[ABSOLUTE_POS] = weight(words, panel, steps, input, inside, format);
    }
}

/// Vectors of a table, `[batch, seq, inputs]`, by their indices `[batch, seq]`.
pub(crate) fn lookup(
    table: &DeviceMatrix,
    indices: &Tensor<2, burn::tensor::Int>,
) -> Option<Tensor<3>> {
    let [batch, seq] = indices.dims();
    let (words, indices) = (tensors::words(table)?, lower_integers(indices)?);
    let (inputs, panels) = (table.inputs(), table.outputs().div_ceil(PANEL));
    let y = empty(&words, [batch, seq, inputs], DType::F32);
    let len = elements(&y);
    // Of its row, a number reads as much as it is held in.
    let held = table.format().bytes(PANEL, inputs) / PANEL;
    count::moves(batch * seq * held + bytes(&y));
    macro_rules! launch {
        ($integer:ty) => {
            // SAFETY: a unit reads an index, and a weight of the row that it names: whoever looks up
            // checked that the table has it. It writes its own number.
            unsafe {
                rows::launch_unchecked::<$integer>(
                    &words.client,
                    tensors::cubes(len.div_ceil(UNITS as usize)),
                    CubeDim::new_1d(UNITS),
                    buffer(&words, elements(&words)),
                    buffer(&indices, elements(&indices)),
                    buffer(&y, len),
                    elements(&words) / panels,
                    table.format().steps(inputs),
                    inputs,
                    len,
                    table.format(),
                )
            }
        };
    }
    match indices.dtype {
        DType::I32 => launch!(i32),
        DType::I64 => launch!(i64),
        DType::U32 => launch!(u32),
        _ => return None,
    }
    Some(lift(y))
}
