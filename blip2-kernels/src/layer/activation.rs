//! Activation functions of tensors.

use burn::tensor::Tensor;

use crate::{kernel::activation::Activation, seam};

impl Activation {
    /// Applies the function to every element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        seam::activation(self, x)
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

    /// By the kernels, against differences in 64 bits.
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
