//! From rows of floats to panels.

use burn::tensor::{DType, Element, TensorData};
use half::{bf16, f16};
use rayon::prelude::*;

use super::{
    PackedFormat, PackedMatrix, memory,
    quantize::{self, GROUP},
};
use crate::kernel::isa::{Isa, tile_kind::PANEL};

impl PackedMatrix {
    /// Packs a matrix `[outputs, inputs]` of `f32`, `f16` or `bf16`; `None` for other data.
    pub fn from_data(
        format: PackedFormat,
        outputs: usize,
        inputs: usize,
        data: &TensorData,
    ) -> Option<Self> {
        fn pack<E: Element>(
            (format, outputs, inputs): (PackedFormat, usize, usize),
            data: &TensorData,
            widen: impl Fn(E) -> f32 + Sync,
        ) -> Option<PackedMatrix> {
            let values = data.as_slice::<E>().ok()?;
            (values.len() == outputs * inputs).then(|| {
                PackedMatrix::pack(format, outputs, inputs, |output, row| {
                    for (wide, &w) in row.iter_mut().zip(&values[output * inputs..]) {
                        *wide = widen(w);
                    }
                })
            })
        }
        let shape = (format, outputs, inputs);
        match data.dtype() {
            DType::F32 => pack::<f32>(shape, data, |w| w),
            DType::F16 => pack::<f16>(shape, data, f16::to_f32),
            DType::BF16 => pack::<bf16>(shape, data, bf16::to_f32),
            _ => None,
        }
    }

    /// Packs a matrix `[outputs, inputs]` given row by row: `read(output, row)` fills `row` with the
    /// weights of an output. Rows are read by several threads, each once, so that a matrix never
    /// exists twice.
    pub fn pack(
        format: PackedFormat,
        outputs: usize,
        inputs: usize,
        read: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let panel_bytes = format.kind().panel_bytes(inputs);
        let padded = format.steps(inputs) * format.kind().step();
        let bytes = memory::filled(format.bytes(outputs, inputs), |bytes| {
            // Sums and scales of nothing are zero.
            if inputs == 0 {
                return;
            }
            bytes
                .par_chunks_exact_mut(panel_bytes)
                .enumerate()
                .for_each_init(
                    || vec![0.0; PANEL * padded],
                    |rows, (panel, bytes)| {
                        let first = panel * PANEL;
                        for (index, row) in rows.chunks_exact_mut(padded).enumerate() {
                            if first + index < outputs {
                                read(first + index, &mut row[..inputs]);
                            } else {
                                row.fill(0.0);
                            }
                        }
                        pack_panel(format, rows, bytes);
                    },
                );
        });
        Self {
            outputs,
            inputs,
            format,
            kind: super::kind(format, outputs * inputs),
            bytes,
        }
    }
}

/// Packs 32 rows whose inputs are padded to whole steps.
fn pack_panel(format: PackedFormat, rows: &[f32], bytes: &mut [u8]) {
    let inputs = rows.len() / PANEL;
    match format {
        PackedFormat::F32 => interleave::<4>(rows, bytes, f32::to_le_bytes),
        PackedFormat::F16 => interleave::<2>(rows, bytes, |w| f16::from_f32(w).to_le_bytes()),
        PackedFormat::Bf16 | PackedFormat::Bf16Exact => {
            for (step, bytes) in bytes.chunks_exact_mut(4 * PANEL).enumerate() {
                for (output, pair) in bytes.chunks_exact_mut(4).enumerate() {
                    let at = output * inputs + 2 * step;
                    pair[..2].copy_from_slice(&bf16::from_f32(rows[at]).to_le_bytes());
                    pair[2..].copy_from_slice(&bf16::from_f32(rows[at + 1]).to_le_bytes());
                }
            }
        }
        PackedFormat::Int8 => int8(rows, inputs, bytes),
        PackedFormat::Int4 => int4(rows, inputs, bytes),
    }
}

fn interleave<const N: usize>(rows: &[f32], bytes: &mut [u8], narrow: impl Fn(f32) -> [u8; N]) {
    let inputs = rows.len() / PANEL;
    for (input, bytes) in bytes.chunks_exact_mut(N * PANEL).enumerate() {
        for (output, bytes) in bytes.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            *bytes = narrow(rows[output * inputs + input]);
        }
    }
}

fn int8(rows: &[f32], inputs: usize, bytes: &mut [u8]) {
    let (steps, behind) = bytes.split_at_mut(inputs * PANEL);
    let (scales, sums) = behind.split_at_mut(4 * PANEL);
    let mut integers = vec![0i8; inputs];
    for (output, row) in rows.chunks_exact(inputs.max(1)).enumerate() {
        let scale = quantize::row_to_int8(Isa::active(), row, &mut integers);
        let sum: i32 = integers.iter().map(|&w| i32::from(w)).sum();
        scales[4 * output..][..4].copy_from_slice(&scale.to_le_bytes());
        sums[4 * output..][..4].copy_from_slice(&sum.to_le_bytes());
        for (step, four) in integers.chunks_exact(4).enumerate() {
            let place = &mut steps[(step * PANEL + output) * 4..][..4];
            for (byte, &w) in place.iter_mut().zip(four) {
                *byte = w as u8;
            }
        }
    }
}

fn int4(rows: &[f32], inputs: usize, bytes: &mut [u8]) {
    const STEP: usize = 18 * PANEL;
    let (steps, sums) = bytes.split_at_mut(inputs / GROUP * STEP);
    for (output, row) in rows.chunks_exact(inputs.max(1)).enumerate() {
        let mut sum = 0.0;
        for (group, step) in row
            .as_chunks::<GROUP>()
            .0
            .iter()
            .zip(steps.chunks_exact_mut(STEP))
        {
            let (scale, nibbles) = quantize::group_to_int4(group);
            let total: i32 = nibbles.iter().map(|&w| i32::from(w) - 8).sum();
            sum += scale.to_f32() * total as f32;
            step[16 * PANEL + 2 * output..][..2].copy_from_slice(&scale.to_le_bytes());
            for (quarter, nibbles) in nibbles.chunks_exact(8).enumerate() {
                let place = &mut step[(quarter * PANEL + output) * 4..][..4];
                for (i, byte) in place.iter_mut().enumerate() {
                    *byte = nibbles[i] | nibbles[i + 4] << 4;
                }
            }
        }
        sums[4 * output..][..4].copy_from_slice(&f32::to_le_bytes(sum));
    }
}
