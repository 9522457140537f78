//! A layer of BLIP-1's text model.

use blip2_io::config::BlipTextConfig;
use blip2_kernels::{
    Activation, Attended, KvCache, LayerNorm, Linear, Weights, attention, merge_heads, mlp,
    split_heads,
};
use burn::{module::Module, tensor::Tensor};

/// What a layer keeps between the steps of a decode.
pub(super) struct Caches<'c> {
    pub(super) own: &'c mut KvCache,
    /// Of the source; filled by the first step.
    pub(super) source: &'c mut KvCache,
}

/// Self-attention, cross-attention and MLP, each with its norm behind (`BlipTextLayer`).
#[derive(Module, Debug)]
pub(super) struct Layer {
    attention: Attention,
    crossattention: Attention,
    intermediate: Linear,
    output: Linear,
    layer_norm: LayerNorm,
    #[module(skip)]
    activation: Activation,
}

impl Layer {
    pub(super) fn load(config: &BlipTextConfig, weights: &Weights<'_>) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let encoder = config.encoder_hidden_size;
        let output = weights.at("output");
        Self {
            attention: Attention::load(config, hidden, &weights.at("attention")),
            crossattention: Attention::load(config, encoder, &weights.at("crossattention")),
            intermediate: weights
                .at("intermediate")
                .linear("dense", hidden, inner, true),
            output: output.linear("dense", inner, hidden, true),
            layer_norm: output.layer_norm("LayerNorm", hidden, config.layer_norm_eps),
            activation: config.hidden_act,
        }
    }

    /// Without a source there is no cross-attention; all of a source is seen. The reference drops
    /// the source's mask on its way to the attention (`BlipTextAttention.forward` takes none).
    ///
    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, new, hidden]`
    /// - bias: `[batch or 1, 1, new or 1, keys]`
    /// - source: `[batch, source, encoder_hidden]`
    pub(super) fn forward(
        &self,
        hidden_states: Tensor<3>,
        bias: Option<Tensor<4>>,
        source: Option<&Tensor<3>>,
        caches: Option<Caches<'_>>,
    ) -> Tensor<3> {
        let (own, encoded) = match caches {
            Some(Caches { own, source }) => (Some(own), Some(source)),
            None => (None, None),
        };
        let mut attended = self.attention.own(hidden_states, bias, own);
        if let Some(source) = source {
            attended = self.crossattention.cross(attended, source, encoded);
        }
        let layers = [&self.intermediate, &self.output];
        let output = mlp(attended.clone(), layers, self.activation, attended);
        self.layer_norm.forward(output)
    }
}

/// Attention with its output, residual and norm (`BlipTextAttention`).
#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    layer_norm: LayerNorm,
    num_heads: usize,
}

impl Attention {
    /// `source` is the width of what keys and values are made of.
    fn load(config: &BlipTextConfig, source: usize, weights: &Weights<'_>) -> Self {
        let hidden = config.hidden_size;
        let (own, output) = (weights.at("self"), weights.at("output"));
        Self {
            query: own.linear("query", hidden, hidden, true),
            key: own.linear("key", source, hidden, true),
            value: own.linear("value", source, hidden, true),
            dense: output.linear("dense", hidden, hidden, true),
            layer_norm: output.layer_norm("LayerNorm", hidden, config.layer_norm_eps),
            num_heads: config.num_attention_heads,
        }
    }

    fn own(&self, x: Tensor<3>, bias: Option<Tensor<4>>, cache: Option<&mut KvCache>) -> Tensor<3> {
        let (k, v) = self.keys_values(x.clone());
        let (q, scale) = self.queries(x.clone());
        let attended = match cache {
            Some(cache) => {
                cache.append(k, v);
                cache.attend(q, scale, bias, false)
            }
            None => attention(q, k, v, scale, bias, false),
        };
        self.finish(attended, x)
    }

    fn cross(&self, x: Tensor<3>, source: &Tensor<3>, cache: Option<&mut KvCache>) -> Tensor<3> {
        let (q, scale) = self.queries(x.clone());
        let attended = match cache {
            Some(cache) => {
                if cache.is_empty() {
                    let (k, v) = self.keys_values(source.clone());
                    cache.append(k, v);
                }
                cache.attend(q, scale, None, false)
            }
            None => {
                let (k, v) = self.keys_values(source.clone());
                attention(q, k, v, scale, None, false)
            }
        };
        self.finish(attended, x)
    }

    fn queries(&self, x: Tensor<3>) -> (Tensor<4>, f64) {
        let q = split_heads(self.query.forward(x), self.num_heads);
        let [_, _, _, head_dim] = q.dims();
        (q, (head_dim as f64).powf(-0.5))
    }

    fn keys_values(&self, source: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        let k = split_heads(self.key.forward(source.clone()), self.num_heads);
        let v = split_heads(self.value.forward(source), self.num_heads);
        (k, v)
    }

    fn finish(&self, attended: Attended, residual: Tensor<3>) -> Tensor<3> {
        let output = self
            .dense
            .forward_onto(merge_heads(attended.output), residual);
        self.layer_norm.forward(output)
    }
}
