//! Packed matrices turned round, from their own bytes: for gradients, which go through a matrix the other way.

use std::ops::Range;

use half::{bf16, f16};

use super::{
    epilogue::SliceEpilogue,
    output::{Output, Sink},
    run_making,
    transient_panels::TransientPanels,
    work::Work,
};
use crate::kernel::{
    buffers::Floats,
    isa::{
        Isa,
        tile_kind::{PANEL, TileKind},
        vectorized,
    },
    math,
    panels::{PanelShape, Panels},
};

/// Weights of a panel's outputs at as many inputs, `[output][input]`.
type Block = [[f32; PANEL]; PANEL];

/// `x · W`, `[rows, inputs]`, of a packed matrix and of `x` `[rows, outputs]`: as [`super::linear`] with the
/// transpose of the matrix in `f32` or, rounded, in bf16, as is `x` then.
///
/// A few panels of the transpose are there at a time, where a thread multiplies with them.
pub(super) fn linear_through(isa: Isa, x: &[f32], matrix: Panels<'_>, in_bf16: bool) -> Floats {
    let shape = turned_shape(matrix, in_bf16);
    let rows = x.len().checked_div(shape.inputs).unwrap_or(0);
    let mut y = Floats::any(rows * shape.outputs);
    let work = Work {
        isa,
        shape,
        epilogue: &SliceEpilogue::default(),
        y: Sink::Rows(&Output::filled(&mut y, shape.outputs)),
        kept: None,
    };
    run_making(x, work, rows, |panels| turned(isa, matrix, in_bf16, panels));
    y
}

/// The shape of a matrix's transpose.
fn turned_shape(matrix: Panels<'_>, in_bf16: bool) -> PanelShape {
    PanelShape {
        kind: match in_bf16 {
            true => TileKind::Bf16Dot,
            false => TileKind::F32,
        },
        outputs: matrix.inputs(),
        inputs: matrix.outputs(),
    }
}

/// Some panels of the transpose.
fn turned(isa: Isa, matrix: Panels<'_>, in_bf16: bool, panels: Range<usize>) -> TransientPanels {
    let shape = turned_shape(matrix, in_bf16);
    let mut turned = TransientPanels::room(shape, panels);
    let mut block = [[0f32; PANEL]; PANEL];
    for (first, panel) in turned.panels_mut() {
        let parts = panel.chunks_mut(PANEL * PANEL / shape.kind.step());
        for (index, part) in parts.enumerate() {
            read(isa, &matrix, index, first, &mut block);
            match in_bf16 {
                true => pairs(isa, &block, part),
                false => part.copy_from_slice(&block.as_flattened()[..part.len()]),
            }
        }
    }
    turned
}

/// Reads the weights of a panel at the inputs from `first` on; zeros where there are no more of either.
fn read(isa: Isa, matrix: &Panels<'_>, panel: usize, first: usize, block: &mut Block) {
    let kind = matrix.shape().kind;
    let (steps, behind) = matrix.panel(panel);
    let begin = first / kind.step() * kind.bytes();
    let end = begin + PANEL / kind.step() * kind.bytes();
    let steps = &steps[begin..end.min(steps.len())];
    let (outputs, inputs) = (matrix.outputs(), matrix.inputs());
    let has = [
        PANEL.min(outputs - panel * PANEL),
        PANEL.min(inputs - first),
    ];
    if has[1] < PANEL {
        *block = [[0.0; PANEL]; PANEL];
    }
    match kind {
        TileKind::F32 | TileKind::F32Wide => words(isa, steps, block),
        TileKind::F16 => halves(isa, steps, block),
        TileKind::Bf16 | TileKind::Bf16Rounded | TileKind::Bf16Dot => brains(isa, steps, block),
        TileKind::Int8 | TileKind::Int8Signed => bytes(isa, steps, behind, block),
        TileKind::Int4 => nibbles(isa, steps, block),
    }
    // What fills a panel or a step is none of the matrix.
    for row in &mut block[has[0]..] {
        *row = [0.0; PANEL];
    }
    if has[1] < PANEL {
        block.iter_mut().for_each(|row| row[has[1]..].fill(0.0));
    }
}

/// The scale of a lane.
#[inline(always)]
fn scale(scales: &[u8], lane: usize) -> f32 {
    let bytes = scales[4 * lane..].first_chunk();
    bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
}

#[inline(always)]
fn bits(step: &[u8], word: usize) -> u16 {
    u16::from_le_bytes([step[2 * word], step[2 * word + 1]])
}

vectorized! {
    fn words(steps: &[u8], block: &mut Block) {
        for (input, step) in steps.chunks_exact(4 * PANEL).enumerate() {
            for (output, row) in block.iter_mut().enumerate() {
                row[input] = scale(step, output);
            }
        }
    }
}

vectorized! {
    fn halves(steps: &[u8], block: &mut Block) {
        for (input, step) in steps.chunks_exact(2 * PANEL).enumerate() {
            for (output, row) in block.iter_mut().enumerate() {
                row[input] = f16::from_bits(bits(step, output)).to_f32();
            }
        }
    }
}

vectorized! {
    fn brains(steps: &[u8], block: &mut Block) {
        for (pair, step) in steps.chunks_exact(4 * PANEL).enumerate() {
            for (output, row) in block.iter_mut().enumerate() {
                for part in 0..2 {
                    row[2 * pair + part] = bf16::from_bits(bits(step, 2 * output + part)).to_f32();
                }
            }
        }
    }
}

vectorized! {
    fn bytes(steps: &[u8], scales: &[u8], block: &mut Block) {
        for (four, step) in steps.chunks_exact(4 * PANEL).enumerate() {
            let lanes = step.as_chunks::<4>().0.iter().zip(block.iter_mut()).enumerate();
            for (output, (integers, row)) in lanes {
                let scale = scale(scales, output);
                for (part, &integer) in integers.iter().enumerate() {
                    row[4 * four + part] = f32::from(integer as i8) * scale;
                }
            }
        }
    }
}

vectorized! {
    fn nibbles(steps: &[u8], block: &mut Block) {
        for step in steps.chunks_exact(18 * PANEL) {
            for (output, row) in block.iter_mut().enumerate() {
                let scale = f16::from_bits(bits(&step[16 * PANEL..], output)).to_f32();
                for (eight, row) in row.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                    let four = &step[(eight * PANEL + output) * 4..][..4];
                    for (part, &byte) in four.iter().enumerate() {
                        row[part] = (f32::from(byte & 15) - 8.0) * scale;
                        row[4 + part] = (f32::from(byte >> 4) - 8.0) * scale;
                    }
                }
            }
        }
    }
}

vectorized! {
    /// Two outputs' weights at an input in a word, rounded to bf16.
    fn pairs(block: &Block, to: &mut [f32]) {
        let two = block.as_chunks::<2>().0;
        for (words, [even, odd]) in to.chunks_exact_mut(PANEL).zip(two) {
            for (word, (even, odd)) in words.iter_mut().zip(even.iter().zip(odd)) {
                let bits = math::bf16_bits(*even) | (math::bf16_bits(*odd) << 16);
                *word = f32::from_bits(bits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        matrix::packed::{PackedFormat, PackedMatrix},
        random_values,
    };

    /// Of every format, with tails of both axes, on every instruction set.
    #[test]
    fn turned_panels_are_those_of_the_transpose() {
        for [outputs, inputs] in [[1, 1], [33, 31], [64, 64], [5, 130], [70, 400]] {
            let weight = random_values(outputs * inputs, 1);
            for format in [
                PackedFormat::F32,
                PackedFormat::F16,
                PackedFormat::Bf16,
                PackedFormat::Int8,
                PackedFormat::Int4,
            ] {
                let pack = |output: usize, row: &mut [f32]| {
                    row.copy_from_slice(&weight[output * inputs..][..inputs]);
                };
                let packed = PackedMatrix::pack(format, outputs, inputs, pack);
                let mut held = vec![0f32; outputs * inputs];
                for (output, row) in held.chunks_mut(inputs).enumerate() {
                    packed.read_row(output, row);
                }
                for (in_bf16, format) in [(false, PackedFormat::F32), (true, PackedFormat::Bf16)] {
                    let turn = |input: usize, row: &mut [f32]| {
                        for (output, w) in row.iter_mut().enumerate() {
                            *w = held[output * inputs + input];
                        }
                    };
                    let expected = PackedMatrix::pack(format, inputs, outputs, turn);
                    for isa in Isa::available() {
                        let count = inputs.div_ceil(PANEL);
                        for panels in [0..count, 0..count / 2, count / 2..count] {
                            let found = turned(isa, packed.panels(), in_bf16, panels.clone());
                            for panel in panels {
                                let found = found.as_panels().panel(panel);
                                assert_eq!(
                                    found,
                                    expected.panels().panel(panel),
                                    "{isa} {format:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    /// With a matrix so large that it is transposed in several parts, and whatever the number of threads, to the bit.
    #[test]
    #[cfg_attr(miri, ignore = "takes hours")]
    fn products_are_those_of_the_transpose() {
        for [rows, outputs, inputs] in [[0, 3, 2], [1, 33, 31], [3, 40_000, 70], [40, 700, 400]] {
            let (weight, x) = (
                random_values(outputs * inputs, 1),
                random_values(rows * outputs, 2),
            );
            for format in PackedFormat::ALL {
                let pack = |output: usize, row: &mut [f32]| {
                    row.copy_from_slice(&weight[output * inputs..][..inputs]);
                };
                let packed = PackedMatrix::pack(format, outputs, inputs, pack);
                for isa in Isa::available() {
                    for in_bf16 in [false, true] {
                        let run = || linear_through(isa, &x, packed.panels(), in_bf16).to_vec();
                        let whole =
                            turned(isa, packed.panels(), in_bf16, 0..inputs.div_ceil(PANEL));
                        let epilogue = SliceEpilogue::default();
                        let expected = super::super::linear(isa, &x, whole.as_panels(), &epilogue);
                        for threads in [1, 3] {
                            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                            let found = pool.build().unwrap().install(run);
                            assert!(found == expected, "{isa} {format} {rows} {threads}");
                        }
                    }
                }
            }
        }
    }
}
