//! Causal self-attention.

use blip2_kernels::{
    Bias, DotProductAttention, Kept, KvCache, Linear, Weights, merge_heads, split_heads,
};
use burn::{module::Module, tensor::Tensor};

use super::{Description, rotary::CosSin};
use crate::{batch::Unseen, mlp::add_scaled};

/// Causal self-attention in which a head of keys and values serves a group of queries' heads.
#[derive(Module, Debug)]
pub(super) struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    num_heads: usize,
    num_key_value_heads: usize,
    /// What scores are multiplied by.
    scale: f64,
    residual_scale: f64,
}

/// What attention is given beside the hidden states.
#[derive(Clone)]
pub(super) struct Context {
    /// Of rotary positions, what rotates queries and keys.
    pub(super) rotation: Option<CosSin>,
    pub(super) unseen: Unseen,
}

impl Attention {
    pub(super) fn load(description: &Description, weights: &Weights<'_>) -> Self {
        let hidden = description.hidden_size;
        let bias = Bias::when(description.attention_bias);
        let queries = description.num_heads * description.head_dim;
        let keys = description.num_key_value_heads * description.head_dim;
        let output = description.names.layer.attention_output;
        Self {
            q_proj: weights.linear("q_proj", hidden, queries, bias),
            k_proj: weights.linear("k_proj", hidden, keys, bias),
            v_proj: weights.linear("v_proj", hidden, keys, bias),
            out_proj: weights.linear(output, queries, hidden, bias),
            num_heads: description.num_heads,
            num_key_value_heads: description.num_key_value_heads,
            scale: description.scales.attention,
            residual_scale: description.scales.residual,
        }
    }

    /// The attention of `x`, scaled and added to `residual`.
    ///
    /// # Shapes
    ///
    /// - x, residual and output: `[batch, new, hidden]`
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        residual: Tensor<3>,
        context: &Context,
        cache: Option<&mut KvCache>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        let layers = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [q, k, v] = Linear::forward_together(layers, x);
        let mut q = split_heads(q, self.num_heads);
        let [mut k, v] = [k, v].map(|projected| split_heads(projected, self.num_key_value_heads));
        if let Some(rotation) = &context.rotation {
            // Keys go into the cache rotated: their position never changes.
            (q, k) = (rotation.apply(q), rotation.apply(k));
        }
        let Unseen { bias, causal } = context.unseen.clone();
        let attention = match cache {
            Some(cache) => {
                cache.append(k, v);
                cache.attention(q, self.scale)
            }
            None => DotProductAttention::new(q, k, v, self.scale),
        };
        let attention = attention.with_bias(bias).with_causal(causal);
        let attended = attention.with_map(kept.wants_maps()).forward();
        kept.attention(attended.map);
        let merged = merge_heads(attended.output);
        add_scaled(&self.out_proj, merged, residual, self.residual_scale)
    }
}
