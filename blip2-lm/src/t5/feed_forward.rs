//! T5's MLP with what is around it.

use blip2_io::config::T5Config;
use blip2_kernels::{RmsNorm, Weights};
use burn::{module::Module, tensor::Tensor};

use crate::mlp::{Mlp, MlpShape};

/// The MLP with its norm and residual, gated or not (`T5LayerFF`).
#[derive(Module, Debug)]
pub(super) struct FeedForward {
    layer_norm: RmsNorm,
    mlp: Mlp,
}

impl FeedForward {
    pub(super) fn load(config: &T5Config, weights: &Weights<'_>) -> Self {
        // Where the MLP is gated, `wi_0` passes the activation and multiplies `wi_1`.
        let (up, gate) = match config.is_gated_act {
            true => ("wi_1", Some("wi_0")),
            false => ("wi", None),
        };
        let shape = MlpShape {
            up,
            gate,
            down: "wo",
            hidden: config.d_model,
            inner: config.d_ff,
            bias: false,
        };
        let dense = weights.at("DenseReluDense");
        Self {
            layer_norm: weights.rms_norm("layer_norm", config.d_model, config.layer_norm_epsilon),
            mlp: Mlp::load(shape, config.dense_act_fn, &dense),
        }
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, seq, d_model]`
    pub(super) fn forward(&self, hidden_states: Tensor<3>) -> Tensor<3> {
        let normed = self.layer_norm.forward(hidden_states.clone());
        self.mlp.forward(normed, hidden_states, 1.0)
    }
}
