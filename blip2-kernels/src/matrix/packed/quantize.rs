//! Rounding weights to integers.

use half::f16;

use crate::kernel::isa::{LANES, tile_kind::PANEL, vectorized};

/// Inputs that share a scale in 4 bits.
pub(super) const GROUP: usize = 32;

vectorized! {
    /// Rounds a row to `-127..=127`, as bytes of two's complement, and returns the scale that widens it
    /// again and the sum of the integers: symmetric, with the largest weight at the end of the range.
    pub(super) fn row_to_int8(row: &[f32], integers: &mut [u8]) -> (f32, i32) {
        let mut largest = [0f32; LANES];
        let (lanes, rest) = row.as_chunks::<LANES>();
        for w in lanes {
            for lane in 0..LANES {
                largest[lane] = if w[lane].abs() > largest[lane] { w[lane].abs() } else { largest[lane] };
            }
        }
        let largest = largest.iter().chain(rest).fold(0f32, |largest, w| largest.max(w.abs()));
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let mut sum = 0i32;
        for (byte, w) in integers.iter_mut().zip(row) {
            let integer = round(w * inverse) as i8;
            sum = sum.wrapping_add(i32::from(integer));
            *byte = integer as u8;
        }
        (scale, sum)
    }
}

/// The nearest integer, ties to even, of a number below 2²²: what the standard library calls a
/// function for on processors of the first kind.
#[inline(always)]
fn round(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i32
}

/// A number for each output of a panel.
type Lanes = [f32; PANEL];

vectorized! {
    /// Rounds a group of each output of a panel to four bits, 8 above their value: writes the bytes and
    /// the scales of the panel's step, and adds what the integers come to, scaled, to `sums`.
    ///
    /// The range has one value more on the negative side, so the scale's sign is chosen to put the
    /// largest weight there; among a few scales near that one, the one with the least squared error is
    /// kept: with 16 values, it pays to let the largest weight give way a little.
    pub(super) fn groups_to_int4(
        weights: &[Lanes; GROUP],
        bytes: &mut [[u8; 4]],
        scales: &mut [u8],
        sums: &mut Lanes,
    ) {
        let scale = best_scales(weights);
        let inverse = scale.map(inverse);
        let mut totals = [0i32; PANEL];
        let mut eights = weights.as_chunks::<8>().0.iter();
        for bytes in bytes.chunks_exact_mut(PANEL) {
            let Some(eight) = eights.next() else { return };
            for (output, bytes) in bytes.iter_mut().enumerate() {
                let mut word = 0;
                for (i, lanes) in eight.iter().enumerate() {
                    let integer = nearest(lanes[output], inverse[output]);
                    // Of a scale of zero every weight is zero, whatever it was.
                    let integer = if scale[output] == 0.0 { 0 } else { integer };
                    totals[output] += integer;
                    word |= ((integer + 8) as u32) << (8 * (i % 4) + 4 * (i / 4));
                }
                *bytes = word.to_le_bytes();
            }
        }
        for (output, bytes) in scales.as_chunks_mut().0.iter_mut().enumerate() {
            *bytes = f16::from_f32(scale[output]).to_le_bytes();
            sums[output] += scale[output] * totals[output] as f32;
        }
    }
}

/// Each output's scale, of those tried, with the least squared error; a number that an `f16` holds.
#[inline(always)]
fn best_scales(weights: &[Lanes; GROUP]) -> Lanes {
    let mut largest = [0f32; PANEL];
    for lanes in weights {
        for (largest, &w) in largest.iter_mut().zip(lanes) {
            *largest = if w.abs() > largest.abs() { w } else { *largest };
        }
    }
    let (mut least, mut best) = ([f32::INFINITY; PANEL], [0f32; PANEL]);
    for range in [-8.0, -7.6, -7.2, -8.4] {
        let scale = largest.map(|w| f16::from_f32((w / range).clamp(-65504.0, 65504.0)).to_f32());
        let error = squared_errors(weights, &scale);
        for output in 0..PANEL {
            let better = error[output] < least[output];
            least[output] = if better { error[output] } else { least[output] };
            best[output] = if better { scale[output] } else { best[output] };
        }
    }
    best
}

/// How far the outputs' weights are from what their scales make of them.
#[inline(always)]
fn squared_errors(weights: &[Lanes; GROUP], scale: &Lanes) -> Lanes {
    let inverse = scale.map(inverse);
    let mut error = [0f32; PANEL];
    for lanes in weights {
        for output in 0..PANEL {
            let integer = nearest(lanes[output], inverse[output]);
            let off = integer as f32 * scale[output] - lanes[output];
            error[output] += off * off;
        }
    }
    error
}

#[inline(always)]
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { scale.recip() }
}

/// The nearest of the 16 integers.
#[inline(always)]
fn nearest(w: f32, inverse: f32) -> i32 {
    round(w * inverse).clamp(-8, 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::isa::Isa;

    #[test]
    fn int8_is_off_by_half_a_step_at_most() {
        let row: Vec<f32> = (0..100)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013)
            .collect();
        let mut integers = vec![0; row.len()];
        let (scale, sum) = row_to_int8(Isa::active(), &row, &mut integers);
        let integers: Vec<i8> = integers.into_iter().map(|byte| byte as i8).collect();
        assert_eq!(sum, integers.iter().map(|&w| i32::from(w)).sum::<i32>());
        for (w, integer) in row.iter().zip(integers) {
            assert!((w - f32::from(integer) * scale).abs() <= scale * 0.5001);
        }
    }

    /// One group by itself, in plain Rust: the scale and the 32 values of four bits.
    fn group_to_int4(group: &[f32; GROUP]) -> (f16, [u8; GROUP]) {
        let largest = group.iter().fold(
            0f32,
            |largest, &w| if w.abs() > largest.abs() { w } else { largest },
        );
        let mut best = (f32::INFINITY, f16::ZERO, [8; GROUP]);
        for range in [-8.0, -7.6, -7.2, -8.4] {
            let scale = f16::from_f32((largest / range).clamp(-65504.0, 65504.0));
            let wide = scale.to_f32();
            let inverse = if wide == 0.0 { 0.0 } else { wide.recip() };
            let (mut error, mut nibbles) = (0.0, [8; GROUP]);
            for (nibble, w) in nibbles.iter_mut().zip(group) {
                let integer = round(w * inverse).clamp(-8, 7);
                error += (integer as f32 * wide - w).powi(2);
                *nibble = (integer + 8) as u8;
            }
            if error < best.0 {
                best = (error, scale, nibbles);
            }
        }
        (best.1, best.2)
    }

    /// Groups as trained weights have them, and those that have nothing, too much, or no numbers.
    fn groups() -> [[f32; GROUP]; PANEL] {
        let mut groups = std::array::from_fn(|output| {
            std::array::from_fn(|i| {
                ((output * 41 + i * 7) % 32) as f32 * 0.1 - 0.03 * output as f32
            })
        });
        groups[3] = [0.0; GROUP];
        groups[4][0] = f32::NAN;
        groups[5] = [f32::NAN; GROUP];
        groups[6][1] = f32::INFINITY;
        groups[7] = [1e-9; GROUP];
        groups[8] = [3e38; GROUP];
        groups[9] = [-0.0; GROUP];
        groups
    }

    #[test]
    fn a_panel_of_groups_is_each_group_by_itself() {
        let groups = groups();
        let weights = std::array::from_fn(|i| std::array::from_fn(|output| groups[output][i]));
        for isa in Isa::available() {
            let (mut bytes, mut scales) = ([[0; 4]; 4 * PANEL], [0; 2 * PANEL]);
            let mut sums = [0.5; PANEL];
            groups_to_int4(isa, &weights, &mut bytes, &mut scales, &mut sums);
            for (output, group) in groups.iter().enumerate() {
                let (scale, nibbles) = group_to_int4(group);
                assert_eq!(scales[2 * output..][..2], scale.to_le_bytes(), "{output}");
                for (i, nibble) in nibbles.into_iter().enumerate() {
                    let byte = bytes[i / 8 * PANEL + output][i % 4];
                    let found = if i % 8 < 4 { byte & 15 } else { byte >> 4 };
                    assert_eq!(found, nibble, "{isa}: weight {i} of {output}");
                }
                let total: i32 = nibbles.iter().map(|&w| i32::from(w) - 8).sum();
                assert_eq!(sums[output], 0.5 + scale.to_f32() * total as f32);
            }
        }
    }

    #[test]
    fn int4_is_off_by_a_step_at_most() {
        let mut group = [0.0; GROUP];
        for (i, w) in group.iter_mut().enumerate() {
            *w = ((i * 7 % 32) as f32 - 12.0) * 0.1;
        }
        let (scale, nibbles) = group_to_int4(&group);
        for (w, nibble) in group.iter().zip(nibbles) {
            let wide = (f32::from(nibble) - 8.0) * scale.to_f32();
            assert!(
                (w - wide).abs() <= scale.to_f32().abs(),
                "{w} became {wide}"
            );
        }
    }

    #[test]
    fn what_is_not_finite_does_not_panic() {
        let mut integers = [0; 3];
        row_to_int8(
            Isa::active(),
            &[f32::NAN, f32::INFINITY, 1.0],
            &mut integers,
        );
    }
}
