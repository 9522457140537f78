//! Tiles in plain Rust: the meaning of the others, and what runs where there is nothing better.

use half::{bf16, f16};

use super::tile_kind::{PANEL, Sums, TileKind};

pub(super) fn tile(kind: TileKind, rows: usize, input: &[u32], panel: &[u8], sums: &mut Sums) {
    let sums = &mut sums[..rows * PANEL];
    sums.fill(0.0);
    let steps = panel
        .chunks_exact(kind.bytes())
        .zip(input.chunks_exact(kind.words() * rows));
    for (panel, input) in steps {
        match kind {
            TileKind::F32 | TileKind::F32Wide => {
                fma(input, &floats(panel, f32::from_le_bytes), sums)
            }
            TileKind::F16 => fma(
                input,
                &floats(panel, |half| f16::from_le_bytes(half).to_f32()),
                sums,
            ),
            TileKind::Bf16 | TileKind::Bf16Rounded => {
                let (even, odd) = pairs(panel);
                let (first, second) = input.split_at(rows);
                fma(first, &even, sums);
                fma(second, &odd, sums);
            }
            TileKind::Bf16Dot => {
                let (even, odd) = pairs(panel);
                for (&x, sums) in input.iter().zip(sums.chunks_exact_mut(PANEL)) {
                    let (x0, x1) = (f32::from_bits(x << 16), f32::from_bits(x & 0xffff_0000));
                    for ((sum, even), odd) in sums.iter_mut().zip(even).zip(odd) {
                        *sum = x1 * odd + (x0 * even + *sum);
                    }
                }
            }
            TileKind::Int8 => int8(input, panel, sums, i32::from),
            TileKind::Int8Signed => int8(&input[rows..], panel, sums, |x| i32::from(x as i8)),
            TileKind::Int4 => int4(rows, input, panel, sums),
        }
    }
}

/// Fours of integers, of which those of the input are widened so.
fn int8(input: &[u32], panel: &[u8], sums: &mut [f32], wide: impl Fn(u8) -> i32) {
    for (x, sums) in input.iter().zip(sums.chunks_exact_mut(PANEL)) {
        let x = x.to_le_bytes().map(&wide);
        for (sum, w) in sums.iter_mut().zip(panel.chunks_exact(4)) {
            let dot = dot4(x, |i| w[i] as i8);
            *sum = f32::from_bits((sum.to_bits() as i32 + dot) as u32);
        }
    }
}

/// A group of 32 inputs with its own scales.
fn int4(rows: usize, input: &[u32], group: &[u8], sums: &mut [f32]) {
    let (nibbles, scales) = group.split_at(16 * PANEL);
    let scales: [f32; PANEL] = floats(scales, |half| f16::from_le_bytes(half).to_f32());
    for (row, sums) in sums.chunks_exact_mut(PANEL).enumerate() {
        let mut dots = [input[8 * rows + row] as i32; PANEL];
        for (pair, nibbles) in nibbles.chunks_exact(4 * PANEL).enumerate() {
            let low = input[2 * pair * rows + row].to_le_bytes().map(i32::from);
            let high = input[(2 * pair + 1) * rows + row]
                .to_le_bytes()
                .map(i32::from);
            for (dot, w) in dots.iter_mut().zip(nibbles.chunks_exact(4)) {
                *dot += dot4(low, |i| (w[i] & 15) as i8) + dot4(high, |i| (w[i] >> 4) as i8);
            }
        }
        for ((sum, dot), scale) in sums.iter_mut().zip(dots).zip(scales) {
            *sum += dot as f32 * scale;
        }
    }
}

fn dot4(x: [i32; 4], w: impl Fn(usize) -> i8) -> i32 {
    (0..4).map(|i| x[i] * i32::from(w(i))).sum()
}

fn fma(input: &[u32], panel: &[f32; PANEL], sums: &mut [f32]) {
    for (&x, sums) in input.iter().zip(sums.chunks_exact_mut(PANEL)) {
        let x = f32::from_bits(x);
        for (sum, w) in sums.iter_mut().zip(panel) {
            *sum += x * w;
        }
    }
}

fn floats<const N: usize>(bytes: &[u8], widen: impl Fn([u8; N]) -> f32) -> [f32; PANEL] {
    let mut floats = [0.0; PANEL];
    for (float, bytes) in floats.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *float = widen(*bytes);
    }
    floats
}

/// The first and the second of each pair of brain floats.
fn pairs(panel: &[u8]) -> ([f32; PANEL], [f32; PANEL]) {
    (
        floats(panel, |[a, b, _, _]| bf16::from_le_bytes([a, b]).to_f32()),
        floats(panel, |[_, _, a, b]| bf16::from_le_bytes([a, b]).to_f32()),
    )
}
