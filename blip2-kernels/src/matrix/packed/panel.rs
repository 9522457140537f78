//! A panel's rows: narrowed to its format, and interleaved.

use half::f16;

use super::{
    PackedFormat,
    quantize::{self, GROUP},
};
use crate::kernel::{
    isa::{Isa, tile_kind::PANEL, vectorized},
    math::bf16_bits,
};

/// The rows of a panel on their way into it, whose memory serves the next panel too.
pub(super) struct Rows {
    format: PackedFormat,
    /// One row, or all of them where they are narrowed together; padded to whole steps.
    wide: Vec<f32>,
    /// The rows in the panel's format, one behind the other.
    narrow: Vec<u8>,
    inputs: usize,
}

impl Rows {
    /// Memory for rows of so many inputs, which are whole steps.
    pub(super) fn new(format: PackedFormat, inputs: usize) -> Self {
        let (wide, narrow) = match format {
            PackedFormat::Int4 => (PANEL, 0),
            _ => (1, PANEL),
        };
        Self {
            format,
            wide: vec![0.0; wide * inputs],
            narrow: vec![0; narrow * inputs * format.width()],
            inputs,
        }
    }

    /// Packs `outputs` rows that `read` writes one by one into a panel whose bytes are zero.
    pub(super) fn pack(
        &mut self,
        isa: Isa,
        bytes: &mut [u8],
        outputs: usize,
        read: impl Fn(usize, &mut [f32]),
    ) {
        match self.format {
            PackedFormat::Int4 => {
                for (index, row) in self.wide.chunks_exact_mut(self.inputs).enumerate() {
                    match index < outputs {
                        true => read(index, row),
                        false => row.fill(0.0),
                    }
                }
                int4(isa, &self.wide, self.inputs, bytes);
            }
            format => {
                let width = self.inputs * format.width();
                let (steps, behind) = bytes.split_at_mut(width * PANEL);
                for (index, narrow) in self.narrow.chunks_exact_mut(width).enumerate() {
                    if index < outputs {
                        read(index, &mut self.wide);
                        narrow_row(format, isa, &self.wide, narrow, index, behind);
                    }
                }
                interleave(format, &self.narrow[..outputs * width], width, steps);
            }
        }
    }
}

/// Narrows a row to the format of a panel, and writes what stands behind the panel's steps of it.
fn narrow_row(
    format: PackedFormat,
    isa: Isa,
    row: &[f32],
    narrow: &mut [u8],
    index: usize,
    behind: &mut [u8],
) {
    match format {
        PackedFormat::F32 => {
            for (bytes, w) in narrow.as_chunks_mut().0.iter_mut().zip(row) {
                *bytes = w.to_le_bytes();
            }
        }
        PackedFormat::F16 => {
            for (bytes, &w) in narrow.as_chunks_mut().0.iter_mut().zip(row) {
                *bytes = f16::from_f32(w).to_le_bytes();
            }
        }
        PackedFormat::Bf16 | PackedFormat::Bf16Exact => {
            narrow_to_bf16(isa, row, narrow.as_chunks_mut().0);
        }
        PackedFormat::Int8 => {
            let (scales, sums) = behind.split_at_mut(4 * PANEL);
            let (scale, sum) = quantize::row_to_int8(isa, row, narrow);
            scales[4 * index..][..4].copy_from_slice(&scale.to_le_bytes());
            sums[4 * index..][..4].copy_from_slice(&sum.to_le_bytes());
        }
        // Narrowed by lanes of outputs.
        PackedFormat::Int4 => {}
    }
}

vectorized! {
    fn narrow_to_bf16(row: &[f32], narrow: &mut [[u8; 2]]) {
        for (bytes, &w) in narrow.iter_mut().zip(row) {
            *bytes = (bf16_bits(w) as u16).to_le_bytes();
        }
    }
}

/// Interleaves rows of `width` bytes, at most as many as a panel has, into a panel whose bytes are
/// zero: of each step first what belongs to the first row, then what belongs to the second.
pub(super) fn interleave(format: PackedFormat, rows: &[u8], width: usize, bytes: &mut [u8]) {
    match format.width() * format.kind().step() {
        2 => pieces::<2>(rows, width, bytes),
        _ => pieces::<4>(rows, width, bytes),
    }
}

/// Step by step: the panel, which is new memory, is written from front to back, and the rows, which
/// are near, are read across.
fn pieces<const N: usize>(rows: &[u8], width: usize, bytes: &mut [u8]) {
    let (rows, steps) = (rows.as_chunks::<N>().0, width / N);
    let outputs = rows.len() / steps.max(1);
    for (step, bytes) in bytes.chunks_exact_mut(N * PANEL).enumerate().take(steps) {
        let bytes = &mut bytes.as_chunks_mut::<N>().0[..outputs];
        for (output, bytes) in bytes.iter_mut().enumerate() {
            *bytes = rows[output * steps + step];
        }
    }
}

/// Packs 32 rows of whole groups.
fn int4(isa: Isa, rows: &[f32], inputs: usize, bytes: &mut [u8]) {
    const STEP: usize = 18 * PANEL;
    let (steps, behind) = bytes.split_at_mut(inputs / GROUP * STEP);
    let mut sums = [0.0; PANEL];
    let mut block = [[0.0; PANEL]; GROUP];
    for (group, step) in steps.chunks_exact_mut(STEP).enumerate() {
        for (input, lanes) in block.iter_mut().enumerate() {
            for (output, w) in lanes.iter_mut().enumerate() {
                *w = rows[output * inputs + group * GROUP + input];
            }
        }
        let (nibbles, scales) = step.split_at_mut(16 * PANEL);
        quantize::groups_to_int4(isa, &block, nibbles.as_chunks_mut().0, scales, &mut sums);
    }
    for (bytes, sum) in behind.as_chunks_mut().0.iter_mut().zip(sums) {
        *bytes = f32::to_le_bytes(sum);
    }
}
