//! The conformer's feed-forward module.

use blip2_io::config::ConformerConfig;
use blip2_kernels::{Activation, Bias, LayerNorm, Linear, Weights, mlp};
use burn::{module::Module, tensor::Tensor};

use crate::epsilon::EPSILON;

/// A pre-norm perceptron whose output counts half (`GraniteSpeechConformerFeedForward`): one stands before
/// attention and convolution, one behind them, as in Macaron-Net (Lu et al., 2019).
#[derive(Module, Debug)]
pub(crate) struct FeedForward {
    pre_norm: LayerNorm,
    up_proj: Linear,
    down_proj: Linear,
}

impl FeedForward {
    pub(crate) fn load(config: &ConformerConfig, weights: &Weights<'_>) -> Self {
        let (hidden, inner) = (config.hidden_dim, config.feedforward_size());
        Self {
            pre_norm: weights.layer_norm("pre_norm", hidden, EPSILON),
            up_proj: weights.linear("up_proj", hidden, inner, Bias::With),
            down_proj: weights.linear("down_proj", inner, hidden, Bias::With),
        }
    }

    /// `hidden_states + down(silu(up(norm(hidden_states)))) / 2`.
    ///
    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, frames, hidden]`
    pub(crate) fn forward(&self, hidden_states: Tensor<3>) -> Tensor<3> {
        let normed = self.pre_norm.forward(hidden_states.clone());
        let layers = [&self.up_proj, &self.down_proj];
        // The residual is doubled and the sum halved, both of which are exact, so that the perceptron
        // stays the one pass that adds its residual by itself.
        mlp(normed, layers, Activation::Silu, hidden_states * 2.0) * 0.5
    }
}
