//! What the middle layer's guess of characters tells the layers behind it.

use blip2_io::config::ConformerConfig;
use blip2_kernels::{Bias, Linear, Weights};
use burn::{
    module::Module,
    tensor::{Tensor, activation::softmax},
};

/// Self-conditioning (Nozaki and Komatsu, 2021): in the middle of the encoder each frame's distribution over
/// characters, by the head that was trained with CTC, is projected and added to its hidden state.
#[derive(Module, Debug)]
pub(crate) struct SelfConditioning {
    out: Linear,
    out_mid: Linear,
}

impl SelfConditioning {
    /// Loads `out` and `out_mid` below the cursor.
    pub(crate) fn load(config: &ConformerConfig, weights: &Weights<'_>) -> Self {
        let (hidden, characters) = (config.hidden_dim, config.output_dim);
        Self {
            out: weights.linear("out", hidden, characters, Bias::With),
            out_mid: weights.linear("out_mid", characters, hidden, Bias::With),
        }
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, frames, hidden]`
    pub(crate) fn forward(&self, hidden_states: Tensor<3>) -> Tensor<3> {
        let characters = softmax(self.out.forward(hidden_states.clone()), 2);
        self.out_mid.forward_onto(characters, hidden_states)
    }
}
