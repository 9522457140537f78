//! Tiles of exact products: each is summed in 64 bits and rounded once.
//!
//! A product of two numbers of 32 bits is exact in 64, so that a fused instruction, which rounds once, gives
//! the bits of one that multiplies first and then adds: every instruction set gives the same sums.

use super::{
    Isa,
    tile_kind::{PANEL, Sums},
    vectorized,
};

/// As [`tile`](super::tile::tile) with numbers of 32 bits.
pub(super) fn tile(isa: Isa, rows: usize, input: &[u32], panel: &[u8], sums: &mut Sums) {
    match isa {
        _ if isa >= Isa::Avx512 => fused_512(isa, rows, input, panel, sums),
        _ if isa >= Isa::Avx2 => fused_256(isa, rows, input, panel, sums),
        _ => plain(rows, input, panel, sums),
    }
}

// What is widened serves as many rows and outputs as there are registers for their sums.

vectorized! {
    fn fused_512(rows: usize, input: &[u32], panel: &[u8], sums: &mut Sums) {
        tiles::<6, PANEL>(rows, input, panel, sums, f64::mul_add);
    }
}

vectorized! {
    fn fused_256(rows: usize, input: &[u32], panel: &[u8], sums: &mut Sums) {
        tiles::<3, 16>(rows, input, panel, sums, f64::mul_add);
    }
}

/// Without a fused instruction, which plain Rust would call a function for.
fn plain(rows: usize, input: &[u32], panel: &[u8], sums: &mut Sums) {
    tiles::<4, 8>(rows, input, panel, sums, |x, weight, sum| sum + x * weight);
}

/// `ROWS` rows and `WIDTH` outputs at a time, and rows that are left alone.
#[inline(always)]
fn tiles<const ROWS: usize, const WIDTH: usize>(
    rows: usize,
    input: &[u32],
    panel: &[u8],
    sums: &mut Sums,
    add: impl Fn(f64, f64, f64) -> f64 + Copy,
) {
    for output in (0..PANEL).step_by(WIDTH) {
        let mut row = 0;
        while row + ROWS <= rows {
            part::<ROWS, WIDTH>([row, rows], output, input, panel, sums, add);
            row += ROWS;
        }
        for row in row..rows {
            part::<1, WIDTH>([row, rows], output, input, panel, sums, add);
        }
    }
}

/// The rows from `first` on of a tile of `rows`, and the outputs from `output` on.
#[inline(always)]
fn part<const ROWS: usize, const WIDTH: usize>(
    [first, rows]: [usize; 2],
    output: usize,
    input: &[u32],
    panel: &[u8],
    sums: &mut Sums,
    add: impl Fn(f64, f64, f64) -> f64,
) {
    let mut exact = [[0f64; WIDTH]; ROWS];
    let panel = panel.as_chunks::<4>().0.chunks_exact(PANEL);
    for (input, weights) in input.chunks_exact(rows).zip(panel) {
        let (input, weights) = (&input[first..][..ROWS], &weights[output..][..WIDTH]);
        let mut wide = [0f64; WIDTH];
        for (wide, &weight) in wide.iter_mut().zip(weights) {
            *wide = f64::from(f32::from_le_bytes(weight));
        }
        for (exact, &x) in exact.iter_mut().zip(input) {
            let x = f64::from(f32::from_bits(x));
            for (sum, weight) in exact.iter_mut().zip(wide) {
                *sum = add(x, weight, *sum);
            }
        }
    }
    let sums = sums.chunks_exact_mut(PANEL).skip(first);
    for (sums, exact) in sums.zip(exact) {
        for (sum, exact) in sums[output..].iter_mut().zip(exact) {
            *sum = exact as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::isa::tile_kind::{NO_SUMS, TILE_ROWS},
        random_values,
    };

    #[test]
    fn every_instruction_set_has_the_bits_of_sums_in_order() {
        for steps in [0, 1, 7, 130] {
            let weights = random_values(steps * PANEL, 1);
            let panel: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
            for rows in 1..=TILE_ROWS {
                let x = random_values(steps * rows, 2);
                let input: Vec<u32> = x.iter().map(|x| x.to_bits()).collect();
                for isa in Isa::available() {
                    let mut sums = NO_SUMS;
                    tile(isa, rows, &input, &panel, &mut sums);
                    for (place, sum) in sums.iter().take(rows * PANEL).enumerate() {
                        let (row, output) = (place / PANEL, place % PANEL);
                        let product = |step: usize| {
                            f64::from(x[step * rows + row])
                                * f64::from(weights[step * PANEL + output])
                        };
                        let due = (0..steps).map(product).fold(0.0, |sum, x| sum + x);
                        assert_eq!(
                            *sum, due as f32,
                            "{isa}: {steps} steps, row {row} of {rows}"
                        );
                    }
                }
            }
        }
    }
}
