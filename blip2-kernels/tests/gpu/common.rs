//! What tests on a GPU share.

use blip2_kernels::{Bias, Linear, Precision, RandomWeights, Weights};
use burn::tensor::{Device, Distribution, Tensor, Tolerance};

pub(crate) fn gpu() -> Device {
    Device::wgpu(Default::default())
}

pub(crate) fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

#[allow(dead_code)] // each test takes what it needs
#[track_caller]
pub(crate) fn near<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    let (found, expected) = (found.into_data(), expected.into_data());
    let values = expected.iter::<f32>().map(f32::abs);
    let scale = values.fold(1e-3f32, f32::max);
    found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(2e-6 * scale.max(1.0) * 4.0));
}

/// The layer `fc` of random weights as `device` holds it.
#[allow(dead_code)] // each test takes what it needs
pub(crate) fn layer(
    device: &Device,
    precision: Precision,
    [outputs, inputs]: [usize; 2],
) -> Linear {
    let source = RandomWeights::new(3, 0.1);
    let weights = Weights::new(&source, device).with_precision(precision);
    weights.linear("fc", inputs, outputs, Bias::With)
}
