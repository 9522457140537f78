//! Rounding weights to integers.

use half::f16;

use crate::kernel::isa::{LANES, vectorized};

/// Inputs that share a scale in 4 bits.
pub(super) const GROUP: usize = 32;

vectorized! {
    /// Rounds a row to `-127..=127` and returns the scale that widens it again: symmetric, with the
    /// largest weight at the end of the range.
    pub(super) fn row_to_int8(row: &[f32], integers: &mut [i8]) -> f32 {
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
        for (integer, w) in integers.iter_mut().zip(row) {
            *integer = round(w * inverse) as i8;
        }
        scale
    }
}

/// The nearest integer, ties to even, of a number below 2²²: what the standard library calls a
/// function for on processors of the first kind.
#[inline(always)]
fn round(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i32
}

/// Rounds a group to four bits, 8 above their value, and returns the scale.
///
/// The range has one value more on the negative side, so the scale's sign is chosen to put the
/// largest weight there; among a few scales near that one, the one with the least squared error is
/// kept: with 16 values, it pays to let the largest weight give way a little.
pub(super) fn group_to_int4(group: &[f32; GROUP]) -> (f16, [u8; GROUP]) {
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
        let scale = row_to_int8(Isa::active(), &row, &mut integers);
        for (w, integer) in row.iter().zip(integers) {
            assert!((w - f32::from(integer) * scale).abs() <= scale * 0.5001);
        }
    }

    #[test]
    fn int4_is_off_by_a_step_at_most_and_keeps_zeros() {
        let mut group = [0.0; GROUP];
        let (scale, nibbles) = group_to_int4(&group);
        assert_eq!((scale, nibbles), (f16::ZERO, [8; GROUP]));
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
        let mut group = [1.0; GROUP];
        (group[0], group[1]) = (f32::NAN, f32::INFINITY);
        group_to_int4(&group);
    }
}
