//! A packed matrix's numbers as `f16`.

use burn_cubecl::{cubecl, cubecl::prelude::*};
use half::f16;

use super::super::panels::{INT4_STEP, PANEL, byte, half_to_f32, nibble};
use crate::matrix::packed::PackedFormat;

/// Whether the format is one of brain floats.
pub(super) fn is_brain(format: Option<PackedFormat>) -> bool {
    format == Some(PackedFormat::Bf16)
}

/// Four inputs of an output of a packed matrix, integers of 8 bits without their scale, brain floats times
/// `factor`.
#[cube]
pub(super) fn four<N: Size>(
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
