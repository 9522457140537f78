//! Layer norm and root-mean-square norm, always in `f32`.

use burn::{
    module::{Module, Param},
    tensor::{Tensor, module},
};

/// Layer normalisation over the last axis (Ba, Kiros and Hinton, 2016).
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
        #[cfg(feature = "flex")]
        if let Some(output) = kernel::normalized(&input, &self.weight, Some(&self.bias), self.eps) {
            return output;
        }
        #[cfg(feature = "autodiff")]
        if let Some(output) =
            crate::recorded::layer_norm(&input, &self.weight.val(), &self.bias.val(), self.eps)
        {
            return output;
        }
        module::layer_norm(input, self.weight.val(), Some(self.bias.val()), self.eps)
    }
}

/// Root-mean-square normalisation over the last axis (Zhang and Sennrich, 2019): no mean is
/// subtracted and there is no offset.
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
        #[cfg(feature = "flex")]
        if let Some(output) = kernel::normalized(&input, &self.weight, None, self.eps) {
            return output;
        }
        let mean_square = input.clone().square().mean_dim(D - 1);
        input / (mean_square + self.eps).sqrt() * self.weight.val().unsqueeze::<D>()
    }
}

/// Norms on slices. Sums are in 64 bits: that costs no time that shows, and errors of a norm pass
/// through everything behind it.
#[cfg(feature = "flex")]
mod kernel {
    use burn::{module::Param, tensor::Tensor};

    use crate::{
        flex,
        isa::{Isa, LANES, vectorized},
    };

    /// The input normalised over its last axis, where there is a kernel for it. The mean is
    /// subtracted if there is an offset.
    pub(super) fn normalized<const D: usize>(
        input: &Tensor<D>,
        weight: &Param<Tensor<1>>,
        bias: Option<&Param<Tensor<1>>>,
        eps: f64,
    ) -> Option<Tensor<D>> {
        let shape = input.dims();
        let lowered = flex::lower(input)?;
        let weight = flex::lower(&weight.val())?;
        let bias = match bias {
            Some(bias) => Some(flex::lower(&bias.val())?),
            None => None,
        };
        let mut output = flex::slice(&lowered).to_vec();
        let (weight, bias) = (flex::slice(&weight), bias.as_ref().map(flex::slice));
        for row in output.chunks_exact_mut(weight.len().max(1)) {
            match bias {
                Some(bias) => layer_norm(Isa::active(), row, weight, bias, eps),
                None => rms_norm(Isa::active(), row, weight, eps),
            }
        }
        Some(flex::lift(output, shape))
    }

    vectorized! {
        fn layer_norm(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f64) {
            let (mut sums, mut squares) = ([0f64; LANES], [0f64; LANES]);
            let (lanes, rest) = row.as_chunks::<LANES>();
            for x in lanes {
                for lane in 0..LANES {
                    sums[lane] += f64::from(x[lane]);
                }
            }
            let rest_sum: f64 = rest.iter().map(|&x| f64::from(x)).sum();
            let mean = (sums.iter().sum::<f64>() + rest_sum) / row.len() as f64;
            for x in lanes {
                for lane in 0..LANES {
                    let centred = f64::from(x[lane]) - mean;
                    squares[lane] += centred * centred;
                }
            }
            let rest_square: f64 = rest.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
            let variance = (squares.iter().sum::<f64>() + rest_square) / row.len() as f64;
            let inverse = (variance + eps).sqrt().recip();
            // PyTorch's way to write it, whose rounding is then ours too.
            let (scale, shift) = (inverse as f32, -(inverse as f32) * mean as f32);
            for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                *x = (*x * scale + shift) * weight + bias;
            }
        }
    }

    vectorized! {
        fn rms_norm(row: &mut [f32], weight: &[f32], eps: f64) {
            let mut squares = [0f64; LANES];
            let (lanes, rest) = row.as_chunks::<LANES>();
            for x in lanes {
                for lane in 0..LANES {
                    squares[lane] += f64::from(x[lane]) * f64::from(x[lane]);
                }
            }
            let rest: f64 = rest.iter().map(|&x| f64::from(x).powi(2)).sum();
            let mean_square = (squares.iter().sum::<f64>() + rest) / row.len() as f64;
            // Rounded as the reference does, which multiplies by it in `f32`.
            let inverse = (mean_square + eps).sqrt().recip() as f32;
            for (x, weight) in row.iter_mut().zip(weight) {
                *x = *x * inverse * weight;
            }
        }
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
