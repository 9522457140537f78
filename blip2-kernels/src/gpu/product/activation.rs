//! Activation functions and all else that follows a sum.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::Follows;
use crate::kernel::activation::Activation;

/// `residual + activation(sum + bias)` for one number of a result.
#[cube]
pub(super) fn finished(
    sum: f32,
    bias: &[f32],
    residual: &[f32],
    output: usize,
    place: usize,
    #[comptime] follows: Follows,
) -> f32 {
    let mut y = sum;
    if comptime!(follows.bias) {
        y += bias[output];
    }
    followed(y, residual, place, follows)
}

/// `residual + activation(sum)` for one number of a result.
#[cube]
pub(super) fn followed(
    sum: f32,
    residual: &[f32],
    place: usize,
    #[comptime] follows: Follows,
) -> f32 {
    let mut y = sum;
    if comptime!(follows.activation.is_some()) {
        y = activated(y, comptime!(follows.activation));
    }
    if comptime!(follows.residual) {
        y += residual[place];
    }
    y
}

#[cube]
#[allow(unstable_name_collisions)] // `erf` of CubeCL
fn activated(x: f32, #[comptime] function: Option<Activation>) -> f32 {
    if comptime!(function == Some(Activation::Gelu)) {
        // 1 / √2
        0.5f32 * x * (1.0f32 + f32::erf(x * 0.707_106_77f32))
    } else if comptime!(function == Some(Activation::GeluTanh)) {
        let inner = 0.797_884_6f32 * (x + 0.044_715f32 * x * x * x);
        // The hyperbolic tangent by an exponential that cannot overflow.
        let e = f32::exp(-2.0f32 * f32::abs(inner));
        let tanh = (1.0f32 - e) / (1.0f32 + e);
        0.5f32 * x * (1.0f32 + select(inner < 0.0f32, -tanh, tanh))
    } else if comptime!(function == Some(Activation::QuickGelu)) {
        x / (1.0f32 + f32::exp(-1.702f32 * x))
    } else if comptime!(function == Some(Activation::Silu)) {
        x / (1.0f32 + f32::exp(-x))
    } else {
        max(x, 0.0f32)
    }
}
