//! T5's attention: no biases, and no division by the square root of the heads' width.

use blip2_io::config::T5Config;
use blip2_kernels::{
    Bias, DotProductAttention, Kept, KvCache, Linear, RmsNorm, Weights, merge_heads, split_heads,
};
use burn::{module::Module, tensor::Tensor};

/// Attention with its norm and residual (`T5LayerSelfAttention`, `T5LayerCrossAttention`).
#[derive(Module, Debug)]
pub(super) struct Attention {
    layer_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    num_heads: usize,
}

impl Attention {
    /// `name` is `SelfAttention` or `EncDecAttention`.
    pub(super) fn load(config: &T5Config, name: &str, weights: &Weights<'_>) -> Self {
        let (model, inner) = (config.d_model, config.num_heads * config.d_kv);
        let parts = weights.at(name);
        Self {
            layer_norm: weights.rms_norm("layer_norm", model, config.layer_norm_epsilon),
            q: parts.linear("q", model, inner, Bias::Without),
            k: parts.linear("k", model, inner, Bias::Without),
            v: parts.linear("v", model, inner, Bias::Without),
            o: parts.linear("o", inner, model, Bias::Without),
            num_heads: config.num_heads,
        }
    }

    /// Self-attention over new positions and those in the cache, if there is one.
    ///
    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, new, d_model]`
    /// - bias: `[batch or 1, heads, new, keys]`
    pub(super) fn attend_self(
        &self,
        hidden_states: Tensor<3>,
        bias: Tensor<4>,
        cache: Option<&mut KvCache>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        let normed = self.layer_norm.forward(hidden_states.clone());
        let projected = Linear::forward_together([&self.q, &self.k, &self.v], normed);
        let [q, k, v] = projected.map(|projected| split_heads(projected, self.num_heads));
        let attention = match cache {
            Some(cache) => {
                cache.append(k, v);
                cache.attention(q, 1.0)
            }
            None => DotProductAttention::new(q, k, v, 1.0),
        };
        let attention = attention.with_bias(bias).with_map(kept.wants_maps());
        let attended = attention.forward();
        kept.attention(attended.map);
        self.o
            .forward_onto(merge_heads(attended.output), hidden_states)
    }

    /// Cross-attention to keys and values that were computed once.
    ///
    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, new, d_model]`
    /// - bias: `[batch, 1, 1, source]`
    pub(super) fn attend_source(
        &self,
        hidden_states: Tensor<3>,
        source: &KvCache,
        bias: Option<Tensor<4>>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        let normed = self.layer_norm.forward(hidden_states.clone());
        let attention = source.attention(self.queries(normed), 1.0);
        let attention = attention.with_bias(bias).with_map(kept.wants_maps());
        let attended = attention.forward();
        kept.cross_attention(attended.map);
        self.o
            .forward_onto(merge_heads(attended.output), hidden_states)
    }

    /// Keys and values, each `[batch, heads, seq, d_kv]`.
    pub(super) fn keys_values(&self, source: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        let [k, v] = Linear::forward_together([&self.k, &self.v], source);
        let split = |projected| split_heads(projected, self.num_heads);
        (split(k), split(v))
    }

    fn queries(&self, normed: Tensor<3>) -> Tensor<4> {
        split_heads(self.q.forward(normed), self.num_heads)
    }
}
