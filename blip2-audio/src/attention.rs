//! The conformer's attention: within blocks of frames, with relative positions.

use blip2_io::config::ConformerConfig;
use blip2_kernels::{
    Bias, DotProductAttention, LayerNorm, Linear, Role, Weights, merge_heads, split_heads,
};
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use crate::{epsilon::EPSILON, relative::relative_bias, spans::spans};

/// Self-attention of the frames of a block to one another (`GraniteSpeechConformerAttention`), with an
/// embedding of each distance between a query and a key (Shaw et al., 2018).
#[derive(Module, Debug)]
pub(crate) struct Attention {
    pre_norm: LayerNorm,
    to_q: Linear,
    to_kv: Linear,
    to_out: Linear,
    /// `[2 · max_pos_emb + 1, head_size]`, from the most negative distance on.
    rel_pos_emb: Param<Tensor<2>>,
    num_heads: usize,
    context_size: usize,
}

impl Attention {
    pub(crate) fn load(config: &ConformerConfig, weights: &Weights<'_>) -> Self {
        let (hidden, inner) = (config.hidden_dim, config.inner_size());
        let distances = 2 * config.max_pos_emb + 1;
        Self {
            pre_norm: weights.layer_norm("pre_norm", hidden, EPSILON),
            to_q: weights.linear("to_q", hidden, inner, Bias::Without),
            to_kv: weights.linear("to_kv", hidden, 2 * inner, Bias::Without),
            to_out: weights.linear("to_out", inner, hidden, Bias::With),
            rel_pos_emb: weights.at("rel_pos_emb").param(
                "weight",
                [distances, config.head_size()],
                Role::Dense,
            ),
            num_heads: config.num_heads,
            context_size: config.context_size,
        }
    }

    /// The attention of `hidden_states`, normed, added to them.
    ///
    /// The reference fills the last block up with frames of zeros, and hides them; here that block is
    /// as short as it is, which has the same numbers.
    ///
    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, frames, hidden]`
    pub(crate) fn forward(&self, hidden_states: Tensor<3>) -> Tensor<3> {
        let normed = self.pre_norm.forward(hidden_states.clone());
        let [q, kv] = Linear::forward_together([&self.to_q, &self.to_kv], normed);
        let [_, frames, _] = q.dims();
        let attended = spans(frames, self.context_size)
            .map(|span| {
                let [q, kv] = [&q, &kv].map(|x| x.clone().narrow(1, span.start, span.frames));
                self.blocks(q, kv, span.block)
            })
            .collect::<Vec<_>>();
        self.to_out
            .forward_onto(Tensor::cat(attended, 1), hidden_states)
    }

    /// Attention within blocks of `block` frames, of which there must be whole ones.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, frames, heads · head_size]`
    /// - kv: `[batch, frames, 2 · heads · head_size]`, keys before values
    /// - output: as q
    fn blocks(&self, q: Tensor<3>, kv: Tensor<3>, block: usize) -> Tensor<3> {
        let (heads, [batch, frames, inner]) = (self.num_heads, q.dims());
        let blocks = batch * (frames / block);
        let q = split_heads(q.reshape([blocks, block, inner]), heads);
        let kv = split_heads(kv.reshape([blocks, block, 2 * inner]), 2 * heads);
        let [k, v] = [0, heads].map(|first| kv.clone().narrow(1, first, heads));
        let scale = ((inner / heads) as f64).powf(-0.5);
        let bias = relative_bias(q.clone(), self.rel_pos_emb.val(), scale);
        let attended = DotProductAttention::new(q, k, v, scale)
            .with_bias(bias)
            .with_rounding(self.to_q.rounding())
            .forward();
        merge_heads(attended.output).reshape([batch, frames, inner])
    }
}
