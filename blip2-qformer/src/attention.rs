//! BERT's attention block, for self- and cross-attention.

use blip2_kernels::{
    LayerNorm, Linear, Weights, attention, attention_to_sources, merge_heads, split_heads,
};
use burn::{module::Module, tensor::Tensor};

use crate::Blip2QFormerConfig;

/// Attention with its output projection, residual and norm (`Blip2QFormerAttention`).
#[derive(Module, Debug)]
pub(crate) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    layer_norm: LayerNorm,
    num_heads: usize,
}

impl Attention {
    /// `source_dim` is the width of what is attended to.
    pub(crate) fn load(
        config: &Blip2QFormerConfig,
        source_dim: usize,
        weights: &Weights<'_>,
    ) -> Self {
        let hidden = config.hidden_size;
        let (attention, output) = (weights.at("attention"), weights.at("output"));
        Self {
            query: attention.linear("query", hidden, hidden, true),
            key: attention.linear("key", source_dim, hidden, true),
            value: attention.linear("value", source_dim, hidden, true),
            dense: output.linear("dense", hidden, hidden, true),
            layer_norm: output.layer_norm("LayerNorm", hidden, config.layer_norm_eps),
            num_heads: config.num_attention_heads,
        }
    }

    /// # Shapes
    ///
    /// - hidden_states: `[batch, seq, hidden]`
    /// - source: `[batch, keys, source_dim]`; `hidden_states` itself for self-attention. With
    ///   `sources`, `[sources, keys, source_dim]`, of which row `i` looks at `sources[i]`
    /// - bias: `[batch, 1, 1, keys]`
    /// - output: `[batch, seq, hidden]`, and the map `[batch, heads, seq, keys]` if it is kept
    pub(crate) fn forward(
        &self,
        hidden_states: Tensor<3>,
        source: Tensor<3>,
        sources: Option<&[usize]>,
        bias: Option<Tensor<4>>,
        keep_map: bool,
    ) -> (Tensor<3>, Option<Tensor<4>>) {
        let heads = |x| split_heads(x, self.num_heads);
        let q = heads(self.query.forward(hidden_states.clone()));
        let k = heads(self.key.forward(source.clone()));
        let v = heads(self.value.forward(source));
        let [_, _, _, head_dim] = q.dims();
        let scale = (head_dim as f64).powf(-0.5);
        let attended = match sources {
            Some(sources) => attention_to_sources(q, k, v, sources, scale, bias, keep_map),
            None => attention(q, k, v, scale, bias, keep_map),
        };
        let merged = merge_heads(attended.output);
        let added = self.dense.forward_onto(merged, hidden_states);
        (self.layer_norm.forward(added), attended.map)
    }
}
