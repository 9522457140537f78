//! Activation functions by their Hugging Face names.

use std::fmt;

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// An activation function, read from a configuration's `hidden_act`, `activation_function` or
/// `dense_act_fn`.
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

    /// Applies the function to every element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            // The gradient that Burn gives its own is that of the approximation by tanh.
            Self::Gelu if x.device().is_autodiff() => {
                let errors = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf();
                x * (errors + 1.0) * 0.5
            }
            Self::Gelu => activation::gelu(x),
            Self::GeluTanh => activation::gelu_approximate(x),
            Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
            Self::Relu => activation::relu(x),
            Self::Silu => activation::silu(x),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData, Tolerance};

    /// Values by PyTorch 2.15 at −2, −0.5, 0, 0.5 and 3.
    #[test]
    fn values_equal_pytorch() {
        let device = Device::flex();
        let expected = [
            (
                Activation::Gelu,
                [-0.045500263, -0.15426877, 0.0, 0.34573123, 2.9959502],
            ),
            (
                Activation::GeluTanh,
                [-0.045402348, -0.15428597, 0.0, 0.345714, 2.9963627],
            ),
            (
                Activation::QuickGelu,
                [-0.06434137, -0.14961156, 0.0, 0.35038844, 2.9819288],
            ),
            (Activation::Relu, [0.0, 0.0, 0.0, 0.5, 3.0]),
            (
                Activation::Silu,
                [-0.23840584, -0.18877034, 0.0, 0.31122968, 2.8577223],
            ),
        ];
        for (function, values) in expected {
            let x = Tensor::<1>::from_floats([-2.0, -0.5, 0.0, 0.5, 3.0], &device);
            function
                .forward(x)
                .into_data()
                .assert_approx_eq::<f32>(&TensorData::from(values), Tolerance::absolute(2e-6));
        }
    }

    /// By Burn's operations, against differences in 64 bits.
    #[test]
    #[cfg(feature = "autodiff")]
    fn gradients_are_the_functions_own() {
        let device = Device::flex().autodiff();
        let points = [-3.0, -1.2, -0.4, 0.3, 0.9, 2.5];
        for function in Activation::ALL {
            let x = Tensor::<1>::from_floats(points, &device).require_grad();
            let gradients = function.forward(x.clone()).sum().backward();
            let found = x.grad(&gradients).unwrap().into_data();
            let found = found.try_to_vec::<f32>().unwrap();
            for (x, found) in points.into_iter().zip(found) {
                let slope = (function.exact(x + 1e-5) - function.exact(x - 1e-5)) / 2e-5;
                let off = (f64::from(found) - slope).abs();
                assert!(off < 1e-6, "{function} at {x}: {found} is not {slope}");
            }
        }
    }
}
