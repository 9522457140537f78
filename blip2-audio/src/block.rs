//! The conformer's layers.

use blip2_io::config::ConformerConfig;
use blip2_kernels::{LayerNorm, Weights};
use burn::{module::Module, tensor::Tensor};

use crate::{
    attention::Attention, convolution::Convolution, epsilon::EPSILON, feed_forward::FeedForward,
};

/// A layer of the conformer (`GraniteSpeechConformerBlock`; Gulati et al., 2020, section 2.4).
#[derive(Module, Debug)]
pub(crate) struct Block {
    ff1: FeedForward,
    attn: Attention,
    conv: Convolution,
    ff2: FeedForward,
    post_norm: LayerNorm,
}

impl Block {
    pub(crate) fn load(config: &ConformerConfig, weights: &Weights<'_>) -> Self {
        Self {
            ff1: FeedForward::load(config, &weights.at("ff1")),
            attn: Attention::load(config, &weights.at("attn")),
            conv: Convolution::load(config, &weights.at("conv")),
            ff2: FeedForward::load(config, &weights.at("ff2")),
            post_norm: weights.layer_norm("post_norm", config.hidden_dim, EPSILON),
        }
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, frames, hidden]`
    pub(crate) fn forward(&self, hidden_states: Tensor<3>) -> Tensor<3> {
        let hidden_states = self.ff1.forward(hidden_states);
        let hidden_states = self.attn.forward(hidden_states);
        let hidden_states = self.conv.forward(hidden_states);
        let hidden_states = self.ff2.forward(hidden_states);
        self.post_norm.forward(hidden_states)
    }
}
