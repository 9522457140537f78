//! T5's MLP.

use blip2_io::config::T5Config;
use blip2_kernels::{Activation, Linear, RmsNorm, Weights, mlp};
use burn::{module::Module, tensor::Tensor};

/// The MLP with its norm and residual, gated or not (`T5LayerFF`).
#[derive(Module, Debug)]
pub(super) struct FeedForward {
    layer_norm: RmsNorm,
    wi: Linear,
    /// Where the MLP is gated: what the activated projection is multiplied with.
    gate: Option<Linear>,
    wo: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    pub(super) fn load(config: &T5Config, weights: &Weights<'_>) -> Self {
        let (model, inner) = (config.d_model, config.d_ff);
        let dense = weights.at("DenseReluDense");
        let linear = |name| dense.linear(name, model, inner, false);
        let (wi, gate) = if config.is_gated_act {
            (linear("wi_0"), Some(linear("wi_1")))
        } else {
            (linear("wi"), None)
        };
        Self {
            layer_norm: weights.rms_norm("layer_norm", model, config.layer_norm_epsilon),
            wi,
            gate,
            wo: dense.linear("wo", inner, model, false),
            activation: config.dense_act_fn,
        }
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, seq, d_model]`
    pub(super) fn forward(&self, hidden_states: Tensor<3>) -> Tensor<3> {
        let normed = self.layer_norm.forward(hidden_states.clone());
        let Some(gate) = &self.gate else {
            return mlp(normed, [&self.wi, &self.wo], self.activation, hidden_states);
        };
        let inner = self.wi.forward_activated(normed.clone(), self.activation);
        self.wo
            .forward_onto(inner * gate.forward(normed), hidden_states)
    }
}
