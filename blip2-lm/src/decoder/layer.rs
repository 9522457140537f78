//! A layer of a decoder-only model.

use blip2_kernels::{Kept, KvCache, Weights};
use burn::{module::Module, tensor::Tensor};

use super::{
    Description, NormPlace,
    attention::{Attention, Context},
    norm::Norm,
};
use crate::mlp::{Mlp, MlpShape};

/// A transformer layer: causal self-attention and an MLP, each with its norm and residual.
#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: Mlp,
    residual_scale: f64,
    #[module(skip)]
    norm_place: NormPlace,
}

impl DecoderLayer {
    pub(super) fn load(description: &Description, weights: &Weights<'_>) -> Self {
        let (names, hidden) = (description.names.layer, description.hidden_size);
        let norm = |name| Norm::load(description.norm, name, hidden, weights);
        let mlp = MlpShape {
            up: names.mlp_up,
            gate: names.mlp_gate,
            down: names.mlp_down,
            hidden,
            inner: description.intermediate_size,
            bias: description.mlp_bias,
        };
        Self {
            attention_norm: norm(names.attention_norm),
            attention: Attention::load(description, &weights.at("self_attn")),
            mlp_norm: norm(names.mlp_norm),
            mlp: Mlp::load(mlp, description.activation, weights),
            residual_scale: description.scales.residual,
            norm_place: description.norm_place,
        }
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, new, hidden]`
    pub(super) fn forward(
        &self,
        hidden_states: Tensor<3>,
        context: &Context,
        cache: Option<&mut KvCache>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        kept.hidden(&hidden_states);
        let attend = |x, residual| self.attention.forward(x, residual, context, cache, kept);
        let hidden = self.sublayer(hidden_states, &self.attention_norm, attend);
        let mlp = |x, residual| self.mlp.forward(x, residual, self.residual_scale);
        self.sublayer(hidden, &self.mlp_norm, mlp)
    }

    /// A sublayer with its norm where it belongs; `f` adds its result to its second argument.
    fn sublayer(
        &self,
        x: Tensor<3>,
        norm: &Norm,
        f: impl FnOnce(Tensor<3>, Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        match self.norm_place {
            NormPlace::Before => f(norm.forward(x.clone()), x),
            NormPlace::After => norm.forward(f(x.clone(), x)),
        }
    }
}
