//! What happens to the sums of a tile: widening, bias, activation, residual.

use super::{Epilogue, input::Range};
use crate::{
    activation::Activation,
    isa::{
        Isa,
        tile::{PANEL, Sums, TileKind},
        vectorized,
    },
    math,
};

/// Where the sums of a tile go.
pub(super) struct Place<'a> {
    pub(super) isa: Isa,
    pub(super) kind: TileKind,
    /// What stands behind the steps of the panel.
    pub(super) behind: &'a [u8],
    /// The first output, and how many are no padding.
    pub(super) output: usize,
    pub(super) width: usize,
    /// Whether this is the last block.
    pub(super) finishes: bool,
}

impl Place<'_> {
    /// Makes of a row's sums its results; `range` and `residual` are the row's own, and `earlier`
    /// the sums of earlier blocks.
    pub(super) fn finish(
        &self,
        sums: &mut [f32; PANEL],
        range: Range,
        earlier: &[f32; PANEL],
        epilogue: &Epilogue<'_>,
        residual: Option<&[f32]>,
    ) {
        match self.kind {
            TileKind::Int8 => widen_int8(self.isa, sums, self.behind, range),
            TileKind::Int4 => widen_int4(self.isa, sums, self.behind, range),
            TileKind::F32
            | TileKind::F32Wide
            | TileKind::F16
            | TileKind::Bf16
            | TileKind::Bf16Dot => {
                add(self.isa, sums, earlier);
            }
        }
        if self.finishes {
            if let Some(bias) = epilogue.bias {
                add(self.isa, sums, &bias[self.output..]);
            }
            match epilogue.activation {
                Some(activation) if self.kind == TileKind::F32Wide => {
                    for sum in sums.iter_mut() {
                        *sum = activation.exact(f64::from(*sum)) as f32;
                    }
                }
                Some(activation) => activate(self.isa, activation, sums),
                None => {}
            }
            if let Some(residual) = residual {
                add(self.isa, sums, residual);
            }
        }
    }
}

/// Splits a tile's sums into rows.
pub(super) fn rows(sums: &mut Sums) -> impl Iterator<Item = &mut [f32; PANEL]> {
    sums.as_chunks_mut::<PANEL>().0.iter_mut()
}

vectorized! {
    fn add(sums: &mut [f32], other: &[f32]) {
        for (sum, other) in sums.iter_mut().zip(other) {
            *sum += other;
        }
    }
}

vectorized! {
    fn widen_int8(sums: &mut [f32; PANEL], behind: &[u8], range: Range) {
        let words = behind.as_chunks::<4>().0;
        for (output, sum) in sums.iter_mut().enumerate() {
            let scale = f32::from_le_bytes(words[output]);
            let total = i32::from_le_bytes(words[PANEL + output]);
            let integer = (sum.to_bits() as i32).wrapping_sub(range.zero.wrapping_mul(total));
            *sum = integer as f32 * (scale * range.scale);
        }
    }
}

vectorized! {
    fn widen_int4(sums: &mut [f32; PANEL], behind: &[u8], range: Range) {
        let words = behind.as_chunks::<4>().0;
        for (sum, total) in sums.iter_mut().zip(words) {
            *sum = (*sum - range.zero as f32 * f32::from_le_bytes(*total)) * range.scale;
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
