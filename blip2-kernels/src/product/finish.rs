//! What happens to the sums of a tile: widening, bias, activation.

use super::input::Range;
use crate::{
    activation::Activation,
    isa::{
        Isa,
        tile::{PANEL, TileKind},
        vectorized,
    },
    math,
};

/// Makes floats of a tile's sums: of integers, by their scales and those of the input's `ranges`.
/// `behind` is what stands behind the steps of the panel.
pub(super) fn widen(
    isa: Isa,
    kind: TileKind,
    sums: &mut [[f32; PANEL]],
    ranges: &[Range],
    behind: &[u8],
) {
    match kind {
        TileKind::Int8 => widen_int8(isa, sums, ranges, behind),
        TileKind::Int4 => widen_int4(isa, sums, ranges, behind),
        TileKind::F32 | TileKind::F32Wide | TileKind::F16 | TileKind::Bf16 | TileKind::Bf16Dot => {}
    }
}

/// Applies the activation of a layer to its sums, in 64 bits where they were summed so.
pub(super) fn activate_sums(isa: Isa, kind: TileKind, activation: Activation, sums: &mut [f32]) {
    if kind == TileKind::F32Wide {
        for sum in sums {
            *sum = activation.exact(f64::from(*sum)) as f32;
        }
    } else {
        activate(isa, activation, sums);
    }
}

vectorized! {
    pub(super) fn add(sums: &mut [f32], other: &[f32]) {
        for (sum, other) in sums.iter_mut().zip(other) {
            *sum += other;
        }
    }
}

vectorized! {
    /// Adds the bias of each output to all rows.
    pub(super) fn add_to_rows(sums: &mut [[f32; PANEL]], bias: &[f32; PANEL]) {
        for sums in sums {
            for output in 0..PANEL {
                sums[output] += bias[output];
            }
        }
    }
}

vectorized! {
    fn widen_int8(sums: &mut [[f32; PANEL]], ranges: &[Range], behind: &[u8]) {
        let words = behind.as_chunks::<4>().0;
        let (mut scales, mut totals) = ([0f32; PANEL], [0i32; PANEL]);
        for output in 0..PANEL {
            scales[output] = f32::from_le_bytes(words[output]);
            totals[output] = i32::from_le_bytes(words[PANEL + output]);
        }
        for (sums, range) in sums.iter_mut().zip(ranges) {
            for output in 0..PANEL {
                let shift = range.zero.wrapping_mul(totals[output]);
                let integer = (sums[output].to_bits() as i32).wrapping_sub(shift);
                sums[output] = integer as f32 * (scales[output] * range.scale);
            }
        }
    }
}

vectorized! {
    fn widen_int4(sums: &mut [[f32; PANEL]], ranges: &[Range], behind: &[u8]) {
        let words = behind.as_chunks::<4>().0;
        let mut totals = [0f32; PANEL];
        for output in 0..PANEL {
            totals[output] = f32::from_le_bytes(words[output]);
        }
        for (sums, range) in sums.iter_mut().zip(ranges) {
            for output in 0..PANEL {
                let shift = range.zero as f32 * totals[output];
                sums[output] = (sums[output] - shift) * range.scale;
            }
        }
    }
}

/// Applies an activation function to every element.
fn activate(isa: Isa, activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Gelu => gelu(isa, x),
        Activation::GeluTanh => gelu_tanh(isa, x),
        Activation::QuickGelu => quick_gelu(isa, x),
        Activation::Relu => relu(isa, x),
        Activation::Silu => silu(isa, x),
    }
}

vectorized! {
    fn gelu(x: &mut [f32]) {
        for x in x {
            *x = 0.5 * *x * (1.0 + math::erf(*x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

vectorized! {
    fn gelu_tanh(x: &mut [f32]) {
        const SQRT_2_OVER_PI: f32 = 0.797_884_6;
        for x in x {
            let inner = SQRT_2_OVER_PI * (*x + 0.044_715 * *x * *x * *x);
            *x = 0.5 * *x * (1.0 + math::tanh(inner));
        }
    }
}

vectorized! {
    fn quick_gelu(x: &mut [f32]) {
        for x in x {
            *x *= math::sigmoid(1.702 * *x);
        }
    }
}

vectorized! {
    fn relu(x: &mut [f32]) {
        for x in x {
            *x = if *x < 0.0 { 0.0 } else { *x };
        }
    }
}

vectorized! {
    fn silu(x: &mut [f32]) {
        for x in x {
            *x *= math::sigmoid(*x);
        }
    }
}
