//! Elementary functions of one `f32`, written so that the compiler vectorises a loop over them: no
//! calls, no branches, no tables.

/// `eˣ` to 2 units in the last place; exactly 0 below −87.3, where the result is no normal number.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 · 2²³ rounds to an integer, whose bits are then the low ones.
    const MAGIC: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with trailing zeros, so that its products are exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const SMALLEST: f32 = -87.336_54;
    let clamped = x.clamp(SMALLEST, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + MAGIC;
    let power = shifted - MAGIC;
    let r = (clamped - power * LN2_HIGH) - power * LN2_LOW;
    // Taylor's polynomial: |r| is at most ln 2 / 2, where the next term is 5e-9.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let exponent = (shifted.to_bits().wrapping_add(127)) << 23;
    let y = p * f32::from_bits(exponent);
    if x < SMALLEST { 0.0 } else { y }
}

/// The bits of the nearest brain float, ties to even.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16;
    if x.is_nan() { 0x7fc0 } else { rounded }
}

/// The error function, to 4.4e-7: the quotient of two polynomials of degree 5 in `x²`, fitted to
/// the least largest error on ±3.925, beyond which it is 1 in `f32`.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = x.clamp(-3.925, 3.925);
    let t = x * x;
    let p = 2.030_860_5e-6;
    let p = p * t + 2.874_93e-4;
    let p = p * t + 3.876_368e-3;
    let p = p * t + 5.308_447_4e-2;
    let p = p * t + 1.929_735_1e-1;
    let p = p * t + std::f32::consts::FRAC_2_SQRT_PI;
    let q = 3.803_139_4e-5;
    let q = q * t + 1.189_76e-3;
    let q = q * t + 1.518_843_5e-2;
    let q = q * t + 1.151_678_5e-1;
    let q = q * t + 5.043_499_5e-1;
    let q = q * t + 1.0;
    x * p / q
}

/// The error function of 64 bits, to 8.6e-12: as [`erf`], of degree 8 on ±4.9, beyond which it stays as it is
/// there.
#[inline(always)]
pub(crate) fn erf_wide(x: f64) -> f64 {
    let x = x.clamp(-4.9, 4.9);
    let t = x * x;
    let p = 2.777_266_653_520_036e-11;
    let p = p * t + 2.422_983_323_144_936_6e-8;
    let p = p * t + 1.714_636_671_395_811e-6;
    let p = p * t + 3.333_182_698_127_446e-5;
    let p = p * t + 0.000_652_577_154_969_52;
    let p = p * t + 0.005_778_267_681_553_154;
    let p = p * t + 0.061_767_346_283_000_79;
    let p = p * t + 0.209_791_687_946_824_9;
    let p = p * t + 1.128_379_167_130_834;
    let q = 1.263_357_950_521_450_4e-9;
    let q = q * t + 2.582_900_276_895_318e-7;
    let q = q * t + 7.977_636_673_561_6e-6;
    let q = q * t + 0.000_154_355_971_182_585_83;
    let q = q * t + 0.002_067_127_749_085_902;
    let q = q * t + 0.019_613_201_850_165_372;
    let q = q * t + 0.127_825_339_944_206_03;
    let q = q * t + 0.519_256_376_609_383_1;
    let q = q * t + 1.0;
    x * p / q
}

/// The logistic function.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, by the logistic function: absolutely, not relatively, exact near 0.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    2.0 * sigmoid(2.0 * x) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_the_last_places_and_hides_masked_scores() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(1e30).is_finite());
    }

    #[test]
    fn brain_floats_are_those_of_the_crate_half() {
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-40];
        let others = (0..200_000).map(|i| f32::from_bits(i * 21_001));
        for x in special.into_iter().chain(others) {
            let expected = u32::from(half::bf16::from_f32(x).to_bits());
            assert!(bf16_bits(x) == expected || x.is_nan(), "{x}");
        }
        let nan = half::bf16::from_bits(bf16_bits(f32::NAN) as u16);
        assert!(nan.is_nan());
    }

    #[test]
    fn the_wide_erf_is_that_of_libm() {
        for i in -60_000..=60_000 {
            let x = f64::from(i) / 10_000.0;
            let off = (erf_wide(x) - libm::erf(x)).abs();
            assert!(off < 8.6e-12, "erf({x}) is off by {off}");
        }
    }

    /// Values by Python's `math.erf`.
    #[test]
    fn erf_equals_its_values() {
        let values = [
            (0.0, 0.0),
            (1e-4, 1.128_379_163_334_249_2e-4),
            (0.25, 0.276_326_390_168_236_93),
            (1.0, 0.842_700_792_949_714_9),
            (-2.0, -0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
            (9.0, 1.0),
        ];
        for (x, expected) in values {
            assert!((f64::from(erf(x)) - expected).abs() < 5e-7, "erf({x})");
        }
    }

    #[test]
    fn tanh_and_sigmoid_follow_the_standard_library() {
        for i in -200..=200 {
            let x = i as f32 / 10.0;
            assert!((tanh(x) - x.tanh()).abs() < 3e-7, "tanh({x})");
            let expected = (1.0 + (-f64::from(x)).exp()).recip();
            assert!(
                (f64::from(sigmoid(x)) - expected).abs() < 2e-7,
                "sigmoid({x})"
            );
        }
    }
}
