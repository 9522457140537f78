//! Activation functions by their Hugging Face names.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::math;
use crate::kernel::{
    isa::{Isa, vectorized},
    threads,
};

/// An activation function, read from a configuration's `hidden_act`, `activation_function` or
/// `dense_act_fn`.
///
/// ```
/// use blip2_kernels::Activation;
/// use burn::tensor::{Device, Tensor, TensorData};
///
/// let x = Tensor::<1>::from_floats([-2.0, 0.0, 3.0], &Device::flex());
/// let y = Activation::Relu.forward(x.clone());
/// assert_eq!(y.into_data(), TensorData::from([0.0f32, 0.0, 3.0]));
/// let y = Activation::Gelu.forward(x); // negative numbers are not quite lost
/// assert!(y.into_data().try_to_vec::<f32>().expect("f32")[0] < 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Activation {
    /// `x · Φ(x)` with the exact error function.
    #[serde(rename = "gelu", alias = "gelu_python")]
    Gelu,
    /// GELU by its hyperbolic-tangent approximation.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluTanh,
    /// `x · σ(1.702 x)`, as CLIP uses it.
    #[serde(rename = "quick_gelu")]
    QuickGelu,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
    /// `x · σ(x)`, also called swish.
    #[serde(rename = "silu", alias = "swish")]
    Silu,
}

impl Activation {
    /// Every function.
    pub const ALL: [Self; 5] = [
        Self::Gelu,
        Self::GeluTanh,
        Self::QuickGelu,
        Self::Relu,
        Self::Silu,
    ];

    /// The function of one number, in 64 bits.
    pub(crate) fn exact(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::QuickGelu => x * sigmoid(1.702 * x),
            Self::Relu => x.max(0.0),
            Self::Silu => x * sigmoid(x),
        }
    }

    /// Applies the function to each of some values, in 64 bits, and rounds the results.
    #[inline(always)]
    pub(crate) fn apply_exactly<const N: usize>(self, values: &mut [f32; N]) {
        let wide = f64::from;
        match self {
            Self::Gelu => each(values, |x| {
                let errors = math::erf_wide(wide(x) * std::f64::consts::FRAC_1_SQRT_2);
                (0.5 * wide(x) * (1.0 + errors)) as f32
            }),
            _ => each(values, |x| self.exact(wide(x)) as f32),
        }
    }

    /// Applies the function to each of some values, in `f32`.
    #[inline(always)]
    pub(crate) fn apply<const N: usize>(self, values: &mut [f32; N]) {
        match self {
            Self::Gelu => each(values, |x| 0.5 * x * (1.0 + math::erf(x * FRAC_1_SQRT_2))),
            Self::GeluTanh => each(values, |x| 0.5 * x * (1.0 + math::tanh(tanh_argument(x)))),
            Self::QuickGelu => each(values, |x| x * math::sigmoid(1.702 * x)),
            Self::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
            Self::Silu => each(values, |x| x * math::sigmoid(x)),
        }
    }
}

#[inline(always)]
fn each<const N: usize>(values: &mut [f32; N], f: impl Fn(f32) -> f32) {
    for value in values {
        *value = f(*value);
    }
}

/// Numbers that a thread takes at once.
const SHARE: usize = 1 << 13;

/// Applies the function to every number, in place.
pub(crate) fn apply_to_all(isa: Isa, activation: Activation, values: &mut [f32]) {
    let shares = values.chunks_mut(SHARE);
    threads::each(shares, |values| apply_to(isa, activation, values));
}

vectorized! {
    fn apply_to(activation: Activation, values: &mut [f32]) {
        const TOGETHER: usize = 32;
        let (whole, rest) = values.as_chunks_mut::<TOGETHER>();
        for values in whole {
            activation.apply(values);
        }
        let mut last = [0.0; TOGETHER];
        last[..rest.len()].copy_from_slice(rest);
        activation.apply(&mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// The gradients of results multiplied by the activation's derivative at its inputs.
#[cfg(feature = "autodiff")]
pub(crate) fn multiply_all_by_derivative(
    isa: Isa,
    activation: Activation,
    gradient: &[f32],
    inputs: &[f32],
    to: &mut [f32],
) {
    let shares = gradient.chunks(SHARE).zip(inputs.chunks(SHARE));
    threads::each(
        shares.zip(to.chunks_mut(SHARE)),
        |((gradient, inputs), to)| {
            multiply_by_derivative(isa, activation, gradient, inputs, to);
        },
    );
}

#[cfg(feature = "autodiff")]
vectorized! {
    /// The gradients of results multiplied by the activation's derivative at its inputs.
    pub(crate) fn multiply_by_derivative(
        activation: Activation,
        gradient: &[f32],
        inputs: &[f32],
        to: &mut [f32],
    ) {
        match activation {
            Activation::Gelu => product(gradient, inputs, to, |x| {
                let density = FRAC_1_SQRT_TAU * math::exp(-0.5 * x * x);
                0.5 * (1.0 + math::erf(x * FRAC_1_SQRT_2)) + x * density
            }),
            Activation::GeluTanh => product(gradient, inputs, to, |x| {
                let share = math::sigmoid(2.0 * tanh_argument(x));
                let inner = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
                share + 2.0 * x * share * (1.0 - share) * inner
            }),
            Activation::QuickGelu => product(gradient, inputs, to, |x| {
                let share = math::sigmoid(1.702 * x);
                share + 1.702 * x * share * (1.0 - share)
            }),
            Activation::Relu => product(gradient, inputs, to, |x| if x > 0.0 { 1.0 } else { 0.0 }),
            Activation::Silu => product(gradient, inputs, to, |x| {
                let share = math::sigmoid(x);
                share + x * share * (1.0 - share)
            }),
        }
    }
}

const FRAC_1_SQRT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// 1 / √(2π)
#[cfg(feature = "autodiff")]
const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;
/// √(2 / π)
const SQRT_2_OVER_PI: f32 = 0.797_884_6;
/// The coefficient of the cubic term in GELU's approximation (Hendrycks and Gimpel, 2016).
const CUBIC: f32 = 0.044_715;

/// What the hyperbolic tangent in GELU's approximation is taken of.
#[inline(always)]
fn tanh_argument(x: f32) -> f32 {
    SQRT_2_OVER_PI * (x + CUBIC * x * x * x)
}

/// Each gradient times the derivative at its input.
#[cfg(feature = "autodiff")]
#[inline(always)]
fn product(gradient: &[f32], inputs: &[f32], to: &mut [f32], derivative: impl Fn(f32) -> f32) {
    for ((to, gradient), &input) in to.iter_mut().zip(gradient).zip(inputs) {
        *to = gradient * derivative(input);
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_new",
            Self::QuickGelu => "quick_gelu",
            Self::Relu => "relu",
            Self::Silu => "silu",
        })
    }
}
