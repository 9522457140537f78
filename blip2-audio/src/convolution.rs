//! The conformer's convolution module.

use blip2_io::config::ConformerConfig;
use blip2_kernels::{Activation, Bias, LayerNorm, Linear, Weights};
use burn::{
    module::Module,
    tensor::{Tensor, activation::sigmoid},
};

use crate::{depthwise::Depthwise, epsilon::EPSILON};

/// A gated expansion, a depthwise convolution and a projection (`GraniteSpeechConformerConvModule`; Gulati
/// et al., 2020, section 2.2).
#[derive(Module, Debug)]
pub(crate) struct Convolution {
    norm: LayerNorm,
    up_conv: Linear,
    depthwise: Depthwise,
    down_conv: Linear,
}

impl Convolution {
    pub(crate) fn load(config: &ConformerConfig, weights: &Weights<'_>) -> Self {
        let (hidden, inner) = (config.hidden_dim, config.conv_size());
        Self {
            norm: weights.layer_norm("norm", hidden, EPSILON),
            up_conv: weights.pointwise("up_conv", hidden, 2 * inner, Bias::With),
            depthwise: Depthwise::load(config, weights),
            down_conv: weights.pointwise("down_conv", inner, hidden, Bias::With),
        }
    }

    /// The module's output for `hidden_states`, added to them.
    ///
    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, frames, hidden]`
    pub(crate) fn forward(&self, hidden_states: Tensor<3>) -> Tensor<3> {
        let normed = self.norm.forward(hidden_states.clone());
        let gated = gated(self.up_conv.forward(normed));
        let mixed = self.depthwise.forward(gated.swap_dims(1, 2));
        let activated = Activation::Silu.forward(mixed).swap_dims(1, 2);
        self.down_conv.forward_onto(activated, hidden_states)
    }
}

/// A gated linear unit (Dauphin et al., 2017): the first half of the channels, times the sigmoid of the
/// second.
///
/// # Shapes
///
/// - x: `[batch, frames, 2 · channels]`
/// - output: `[batch, frames, channels]`
fn gated(x: Tensor<3>) -> Tensor<3> {
    let channels = x.dims()[2] / 2;
    let gate = x.clone().narrow(2, channels, channels);
    x.narrow(2, 0, channels) * sigmoid(gate)
}
