//! Layer norm and root-mean-square norm, always in `f32`.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use crate::seam;

/// Layer normalisation over the last axis (Ba, Kiros and Hinton, 2016).
///
/// ```
/// use blip2_kernels::{RandomWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let norm = Weights::new(&source, &device).layer_norm("norm", 4, 1e-6); // scale 1, offset 0
/// let y = norm.forward(Tensor::<2>::from_floats([[1.0, 2.0, 3.0, 6.0]], &device));
/// assert!(y.clone().mean().into_scalar::<f32>().abs() < 1e-6);
/// assert!((y.square().mean().into_scalar::<f32>() - 1.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    eps: f64,
}

impl LayerNorm {
    /// A norm of scale `weight` and offset `bias`, both `[dim]`.
    pub fn new(weight: Param<Tensor<1>>, bias: Param<Tensor<1>>, eps: f64) -> Self {
        Self { weight, bias, eps }
    }

    /// Normalises the last axis: `(x − mean) / sqrt(var + eps) · weight + bias`.
    ///
    /// # Shapes
    ///
    /// - input and output: `[..., dim]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        seam::layer_norm(input, self.weight.val(), self.bias.val(), self.eps)
    }
}

/// Root-mean-square normalisation over the last axis (Zhang and Sennrich, 2019): no mean is
/// subtracted and there is no offset.
///
/// ```
/// use blip2_kernels::{RandomWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let norm = Weights::new(&source, &device).rms_norm("norm", 4, 1e-6); // scale 1
/// let y = norm.forward(Tensor::<2>::from_floats([[1.0, 2.0, 3.0, 6.0]], &device));
/// assert!((y.square().mean().into_scalar::<f32>() - 1.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
pub struct RmsNorm {
    weight: Param<Tensor<1>>,
    eps: f64,
}

impl RmsNorm {
    /// A norm of scale `weight` `[dim]`.
    pub fn new(weight: Param<Tensor<1>>, eps: f64) -> Self {
        Self { weight, eps }
    }

    /// Normalises the last axis: `x / sqrt(mean(x²) + eps) · weight`.
    ///
    /// # Shapes
    ///
    /// - input and output: `[..., dim]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        seam::rms_norm(input, self.weight.val(), self.eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn norms_follow_their_formulas() {
        let device = Device::flex();
        let param = |v: [f32; 2]| Param::from_tensor(Tensor::from_floats(v, &device));
        let x = Tensor::<2>::from_floats([[1.0, 3.0], [-2.0, 2.0]], &device);

        let layer = LayerNorm::new(param([2.0, 1.0]), param([0.5, 0.0]), 1e-12);
        let expected = Tensor::<2>::from_floats([[-1.5, 1.0], [-1.5, 1.0]], &device);
        layer
            .forward(x.clone())
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-5));

        let rms = RmsNorm::new(param([1.0, 2.0]), 0.0);
        let expected = Tensor::<2>::from_floats(
            [[1.0 / 5f32.sqrt(), 6.0 / 5f32.sqrt()], [-1.0, 2.0]],
            &device,
        );
        rms.forward(x)
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }
}
