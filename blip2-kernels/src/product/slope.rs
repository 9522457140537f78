//! The slopes of activation functions.

use crate::{Activation, isa::vectorized, math};

vectorized! {
    /// The gradients of results multiplied by the activation's slope at its inputs.
    pub(super) fn slope(
        activation: Activation,
        gradient: &[f32],
        inputs: &[f32],
        to: &mut [f32],
    ) {
        match activation {
            Activation::Gelu => each(gradient, inputs, to, |x| {
                let density = FRAC_1_SQRT_TAU * math::exp(-0.5 * x * x);
                0.5 * (1.0 + math::erf(x * FRAC_1_SQRT_2)) + x * density
            }),
            Activation::GeluTanh => each(gradient, inputs, to, |x| {
                let share = math::sigmoid(2.0 * tanh_argument(x));
                let inner = SQRT_2_PI * (1.0 + 3.0 * CUBIC * x * x);
                share + 2.0 * x * share * (1.0 - share) * inner
            }),
            Activation::QuickGelu => each(gradient, inputs, to, |x| {
                let share = math::sigmoid(1.702 * x);
                share + 1.702 * x * share * (1.0 - share)
            }),
            Activation::Relu => each(gradient, inputs, to, |x| if x > 0.0 { 1.0 } else { 0.0 }),
            Activation::Silu => each(gradient, inputs, to, |x| {
                let share = math::sigmoid(x);
                share + x * share * (1.0 - share)
            }),
        }
    }
}

const FRAC_1_SQRT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// 1 / √(2π)
const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;
/// √(2 / π)
const SQRT_2_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

#[inline(always)]
fn tanh_argument(x: f32) -> f32 {
    SQRT_2_PI * (x + CUBIC * x * x * x)
}

#[inline(always)]
fn each(gradient: &[f32], inputs: &[f32], to: &mut [f32], slope: impl Fn(f32) -> f32) {
    for ((to, gradient), &input) in to.iter_mut().zip(gradient).zip(inputs) {
        *to = gradient * slope(input);
    }
}
