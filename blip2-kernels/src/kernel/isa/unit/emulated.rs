//! The matrix unit in plain Rust: the meaning of AMX's instructions, for tests on any machine.

use super::{Block, CHUNK, CHUNK_BYTES, HALF, MatrixUnit, Product, UNIT_ROWS, UnitSums};
use crate::kernel::isa::tile_kind::PANEL;

/// Registers of AMX, emulated.
pub(crate) struct Emulated {
    rows: usize,
}

/// A register: rows of 16 words.
type Register = [[u32; CHUNK]; HALF];

impl MatrixUnit for Emulated {
    fn ready(rows: usize) -> Self {
        Self { rows }
    }

    fn multiply(&self, block: &Block<'_>, sums: &mut UnitSums) {
        let chunks = block.chunks(self.rows);
        let rows = block.rows.min(HALF);
        for half in 0..block.rows.div_ceil(HALF) {
            for side in 0..2 {
                let mut c = [[0; CHUNK]; HALF];
                if block.add {
                    move_register(&mut c, sums, half, side, rows, false);
                }
                for chunk in 0..chunks {
                    let lines = &block.input[chunk * block.rows + half * HALF..][..rows];
                    let mut a = [[0; CHUNK]; HALF];
                    for (row, line) in a.iter_mut().zip(lines) {
                        load(row, &line.0);
                    }
                    let steps = &block.panel[chunk * CHUNK_BYTES..][..CHUNK_BYTES];
                    let mut b = [[0; CHUNK]; HALF];
                    for (row, step) in b.iter_mut().zip(steps.chunks_exact(4 * PANEL)) {
                        load(row, &step[side * 4 * CHUNK..][..4 * CHUNK]);
                    }
                    for (c, a) in c.iter_mut().zip(&a).take(rows) {
                        match block.product {
                            Product::Bf16 => dot_bf16(c, a, &b),
                            Product::Int8 => dot_int8(c, a, &b),
                        }
                    }
                }
                move_register(&mut c, sums, half, side, rows, true);
            }
        }
    }
}

fn load(row: &mut [u32; CHUNK], bytes: &[u8]) {
    for (word, bytes) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
}

/// Between a register and its quarter of the sums.
fn move_register(
    c: &mut Register,
    sums: &mut [f32; UNIT_ROWS * PANEL],
    half: usize,
    side: usize,
    rows: usize,
    store: bool,
) {
    let places = sums.chunks_exact_mut(PANEL).skip(half * HALF).take(rows);
    for (row, sums) in c.iter_mut().zip(places) {
        for (word, sum) in row.iter_mut().zip(&mut sums[side * CHUNK..]) {
            match store {
                true => *sum = f32::from_bits(*word),
                false => *word = sum.to_bits(),
            }
        }
    }
}

/// A row of `TDPBUSD`.
fn dot_int8(c: &mut [u32; CHUNK], a: &[u32; CHUNK], b: &Register) {
    for (a, b) in a.iter().zip(b) {
        for (c, b) in c.iter_mut().zip(b) {
            let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
            let dot: i32 = products
                .map(|(a, b)| i32::from(a) * i32::from(b as i8))
                .sum();
            *c = c.wrapping_add(dot as u32);
        }
    }
}

/// A row of `TDPBF16PS`.
fn dot_bf16(c: &mut [u32; CHUNK], a: &[u32; CHUNK], b: &Register) {
    let mut sums = [[0f32; CHUNK]; 2];
    for (a, b) in a.iter().zip(b) {
        for (odd, sums) in sums.iter_mut().enumerate() {
            let a = f64::from(wide(*a, odd));
            for (sum, b) in sums.iter_mut().zip(b) {
                // Exact in 64 bits, or so far from exact that rounding twice rounds as rounding once:
                // the product has 16 bits and the sum 24.
                *sum = flushed(a * f64::from(wide(*b, odd)) + f64::from(*sum));
            }
        }
    }
    let [even, odd] = sums;
    for (c, (even, odd)) in c.iter_mut().zip(even.into_iter().zip(odd)) {
        let both = flushed(f64::from(even) + f64::from(odd));
        let before = flushed(f64::from(f32::from_bits(*c)));
        *c = flushed(f64::from(before) + f64::from(both)).to_bits();
    }
}

/// The first or the second of a pair of brain floats, 0 if it is not normal.
fn wide(pair: u32, odd: usize) -> f32 {
    let bits = if odd == 0 {
        pair << 16
    } else {
        pair & 0xffff_0000
    };
    const EXPONENT: u32 = 0x7f80_0000;
    const SIGN: u32 = 0x8000_0000;
    f32::from_bits(if bits & EXPONENT == 0 {
        bits & SIGN
    } else {
        bits
    })
}

/// To the nearest `f32`, or to 0 if that would not be normal had it as many bits as it wants.
fn flushed(exact: f64) -> f32 {
    /// Half way between the smallest normal number and the next below of 24 bits.
    const TINY: f64 = f32::MIN_POSITIVE as f64 * (1.0 - 1.0 / (1 << 25) as f64);
    let rounded = exact as f32;
    if exact.abs() < TINY {
        return 0f32.copysign(rounded);
    }
    rounded
}
