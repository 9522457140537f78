//! Narrow floats as they are stored, widened.

use half::{bf16, f16};

use crate::kernel::isa::vectorized;

vectorized! {
    /// Brain floats are the upper halves of floats.
    pub(super) fn bf16(from: &[bf16], to: &mut [f32]) {
        for (wide, narrow) in to.iter_mut().zip(from) {
            *wide = f32::from_bits(u32::from(narrow.to_bits()) << 16);
        }
    }
}

vectorized! {
    /// Half-precision floats: their exponent and mantissa, three places lower, are a float too small
    /// by 2¹¹², whatever they are but infinity and what is no number.
    pub(super) fn f16(from: &[f16], to: &mut [f32]) {
        const SMALLER: f32 = f32::from_bits((127 + 112) << 23);
        const FULL: u32 = 0x7c00;
        for (wide, narrow) in to.iter_mut().zip(from) {
            let bits = u32::from(narrow.to_bits());
            let small = f32::from_bits((bits & 0x7fff) << 13) * SMALLER;
            let full = 0x7f80_0000 | (bits & 0x3ff) << 13;
            let magnitude = if bits & FULL == FULL { full } else { small.to_bits() };
            *wide = f32::from_bits(magnitude | (bits & 0x8000) << 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::isa::Isa;

    fn each<T: Copy>(
        number: impl Fn(u16) -> T,
        widen: impl Fn(Isa, &[T], &mut [f32]),
        reference: impl Fn(T) -> f32,
    ) {
        let narrow: Vec<T> = (0..=u16::MAX).map(number).collect();
        for isa in Isa::available() {
            let mut wide = vec![0.0; narrow.len()];
            widen(isa, &narrow, &mut wide);
            for (bits, (&narrow, wide)) in narrow.iter().zip(wide).enumerate() {
                let expected = reference(narrow);
                let same = wide.to_bits() == expected.to_bits();
                assert!(
                    same || wide.is_nan() && expected.is_nan(),
                    "{bits:#x}: {wide}"
                );
            }
        }
    }

    #[test]
    fn every_narrow_float_keeps_its_value() {
        each(bf16::from_bits, super::bf16, bf16::to_f32);
        each(f16::from_bits, super::f16, f16::to_f32);
    }
}
