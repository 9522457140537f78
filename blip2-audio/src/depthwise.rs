//! The depthwise convolution over frames, and the batch norm behind it.

use blip2_io::config::ConformerConfig;
use blip2_kernels::{Role, Weights};
use burn::{
    module::{Module, Param},
    tensor::{Tensor, module::conv1d, ops::ConvOptions},
};

use crate::epsilon::EPSILON;

/// A convolution of each channel by itself, without a bias (`GraniteSpeechConformerDepthWiseConv1d`), and
/// the batch norm of its output (Ioffe and Szegedy, 2015) by the statistics of training.
#[derive(Module, Debug)]
pub(crate) struct Depthwise {
    /// `[channels, 1, frames]`.
    kernel: Param<Tensor<3>>,
    batch_norm: BatchNorm,
}

/// What a batch norm is after training: a scale and an offset of each channel, `[channels]` all.
#[derive(Module, Debug)]
struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
}

impl Depthwise {
    /// Loads the convolution `depth_conv.conv` and the norm `batch_norm` below the cursor.
    pub(crate) fn load(config: &ConformerConfig, weights: &Weights<'_>) -> Self {
        let channels = config.conv_size();
        let kernel = [channels, 1, config.conv_kernel_size];
        Self {
            kernel: weights
                .at("depth_conv.conv")
                .param("weight", kernel, Role::Dense),
            batch_norm: BatchNorm::load(channels, &weights.at("batch_norm")),
        }
    }

    /// # Shapes
    ///
    /// - x and output: `[batch, channels, frames]`
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let kernel = self.kernel.val();
        let [channels, _, length] = kernel.dims();
        let (scale, offset) = self.batch_norm.scale_and_offset();
        // The norm scales each channel's kernel, which is thousands of times smaller than its output.
        let kernel = kernel * scale.reshape([channels, 1, 1]);
        let options = ConvOptions::new_with_padding([1], [padding(length)], [1], channels);
        conv1d(x, kernel, Some(offset), options)
    }
}

/// How many frames of zeros a kernel of `length` finds before and behind a recording, so that the output
/// is as long: the same number, or one fewer behind it if the length is even.
fn padding(length: usize) -> (usize, usize) {
    let before = length / 2;
    (before, length.saturating_sub(1 + before))
}

impl BatchNorm {
    fn load(channels: usize, weights: &Weights<'_>) -> Self {
        let param = |name, role| weights.param(name, [channels], role);
        Self {
            weight: param("weight", Role::Scale),
            bias: param("bias", Role::Bias),
            running_mean: param("running_mean", Role::Bias),
            running_var: param("running_var", Role::Scale),
        }
    }

    /// `weight / sqrt(var + eps)`, and what is left of `bias` when that times the mean is taken off it.
    fn scale_and_offset(&self) -> (Tensor<1>, Tensor<1>) {
        let deviation = (self.running_var.val() + EPSILON).sqrt();
        let scale = self.weight.val() / deviation;
        let offset = self.bias.val() - self.running_mean.val() * scale.clone();
        (scale, offset)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn the_output_is_as_long_as_the_input() {
        for length in 1..20 {
            let (before, behind) = padding(length);
            assert_eq!(before + behind, length - 1);
        }
        assert_eq!(
            [padding(5), padding(4), padding(1)],
            [(2, 2), (2, 1), (0, 0)]
        );
    }

    /// Two channels, a kernel of even length, numbers by hand.
    #[test]
    fn each_channel_is_convolved_and_normed_by_itself() {
        let device = Device::flex();
        let param = |values: [f32; 2]| Param::from_tensor(Tensor::from_floats(values, &device));
        let kernel = [[[1.0, 10.0, 100.0, 1000.0]], [[1.0, 0.0, 0.0, 0.0]]];
        let depthwise = Depthwise {
            kernel: Param::from_tensor(Tensor::from_floats(kernel, &device)),
            batch_norm: BatchNorm {
                weight: param([2.0, 1.0]),
                bias: param([0.5, -1.0]),
                running_mean: param([3.0, 0.0]),
                running_var: param([4.0 - EPSILON as f32, 1.0 - EPSILON as f32]),
            },
        };
        let x = [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]];
        let y = depthwise.forward(Tensor::from_floats(x, &device));
        // (what is seen − mean) · weight / deviation + bias
        let expected = TensorData::from([[
            [2100.0 - 2.5, 3210.0 - 2.5, 321.0 - 2.5],
            [-1.0f32, -1.0, 4.0 - 1.0],
        ]]);
        y.into_data()
            .assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::relative(1e-6));
    }
}
