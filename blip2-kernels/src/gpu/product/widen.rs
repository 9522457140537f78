//! A packed matrix, widened for one product of many rows.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::DType;
use burn_cubecl::{
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::{
    super::{
        count,
        tensors::{self, UNITS, buffer, bytes, elements, empty},
    },
    panels::{INT4_STEP, PANEL, byte, half_to_f32, nibble},
};
use crate::matrix::{device::DeviceMatrix, packed::PackedFormat};

/// A weight of a panel that starts at word `panel`, by its input and its output in the panel.
#[cube]
pub(in crate::gpu) fn weight(
    words: &[u32],
    panel: usize,
    steps: usize,
    input: usize,
    output: usize,
    #[comptime] format: PackedFormat,
) -> f32 {
    if comptime!(format == PackedFormat::Int8) {
        let word = words[panel + input / 4 * 32 + output] ^ 0x8080_8080;
        let scale = f32::from_bits(words[panel + steps * 32 + output]);
        byte(word >> (8 * (input as u32 % 4))) * scale
    } else if comptime!(format == PackedFormat::Int4) {
        let step = panel + input / 32 * comptime!(INT4_STEP);
        let scales = words[step + 128 + output / 2];
        let scale = half_to_f32((scales >> (16 * (output as u32 % 2))) & 0xffff);
        let word = words[step + input % 32 / 8 * 32 + output];
        let place = input as u32 % 8;
        nibble(word >> (8 * (place % 4) + 4 * (place / 4))) * scale
    } else {
        let word = words[panel + input / 2 * 32 + output];
        f32::from_bits(select(input % 2 == 0, word << 16, word & 0xffff_0000))
    }
}

/// A unit widens a weight; neighbours write neighbouring outputs of the same input.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn widen<W: Float>(
    words: &[u32],
    y: &mut [W],
    panel_words: usize,
    steps: usize,
    inputs: usize,
    outputs: usize,
    #[comptime] format: PackedFormat,
) {
    let input = ABSOLUTE_POS / outputs;
    let output = ABSOLUTE_POS % outputs;
    if input < inputs {
        let (panel, inside) = (
            output / comptime!(PANEL) * panel_words,
            output % comptime!(PANEL),
        );
        let w = weight(words, panel, steps, input, inside, format);
        y[ABSOLUTE_POS] = W::cast_from(w);
    }
}

/// The matrix as `[inputs, outputs]`. As `f16`, if that is wanted and its format's numbers are none
/// that `f16` lacks.
pub(super) fn widened(matrix: &DeviceMatrix, narrow: bool) -> Option<CubeTensor> {
    let words = tensors::words(matrix)?;
    let (format, inputs, outputs) = (matrix.format(), matrix.inputs(), matrix.outputs());
    let narrow = narrow && matches!(format, PackedFormat::Int8 | PackedFormat::Int4);
    let dtype = if narrow { DType::F16 } else { DType::F32 };
    let y = empty(&words, [inputs, outputs], dtype);
    let panels = outputs.div_ceil(PANEL);
    count::moves(bytes(&words) + bytes(&y));
    macro_rules! launch {
        ($float:ty) => {
            // SAFETY: a unit reads a weight that the matrix has, and writes it to its own place.
            unsafe {
                widen::launch_unchecked::<$float>(
                    &words.client,
                    tensors::cubes((inputs * outputs).div_ceil(UNITS as usize)),
                    CubeDim::new_1d(UNITS),
                    buffer(&words, elements(&words)),
                    buffer(&y, elements(&y)),
                    elements(&words) / panels,
                    format.steps(inputs),
                    inputs,
                    outputs,
                    format,
                )
            }
        };
    }
    match narrow {
        true => launch!(half::f16),
        false => launch!(f32),
    }
    Some(y)
}
