//! A layer of LLaMA.

use blip2_io::config::LlamaConfig;
use blip2_kernels::{
    Activation, KvCache, Linear, RmsNorm, Weights, attention, merge_heads, split_heads,
};
use burn::{module::Module, tensor::Tensor};

use super::rotary::Turns;
use crate::options::Kept;

/// A transformer layer with its norms before attention and MLP (`LlamaDecoderLayer`).
#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl DecoderLayer {
    pub(super) fn load(config: &LlamaConfig, weights: &Weights<'_>) -> Self {
        let norm = |name| weights.rms_norm(name, config.hidden_size, config.rms_norm_eps);
        Self {
            input_layernorm: norm("input_layernorm"),
            self_attn: Attention::load(config, &weights.at("self_attn")),
            post_attention_layernorm: norm("post_attention_layernorm"),
            mlp: Mlp::load(config, &weights.at("mlp")),
        }
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, new, hidden]`
    /// - bias: `[batch or 1, 1, new, keys]`
    pub(super) fn forward(
        &self,
        hidden_states: Tensor<3>,
        turns: &Turns,
        bias: Option<Tensor<4>>,
        cache: Option<&mut KvCache>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        kept.hidden(&hidden_states);
        let normed = self.input_layernorm.forward(hidden_states.clone());
        let attended = self.self_attn.forward(normed, turns, bias, cache, kept);
        let hidden = hidden_states + attended;
        let normed = self.post_attention_layernorm.forward(hidden.clone());
        hidden + self.mlp.forward(normed)
    }
}

/// Causal self-attention in which a head of keys and values serves a group of queries' heads
/// (`LlamaAttention`).
#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    num_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
}

impl Attention {
    fn load(config: &LlamaConfig, weights: &Weights<'_>) -> Self {
        let (hidden, bias) = (config.hidden_size, config.attention_bias);
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        Self {
            q_proj: weights.linear("q_proj", hidden, queries, bias),
            k_proj: weights.linear("k_proj", hidden, keys, bias),
            v_proj: weights.linear("v_proj", hidden, keys, bias),
            o_proj: weights.linear("o_proj", queries, hidden, bias),
            num_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        }
    }

    fn forward(
        &self,
        x: Tensor<3>,
        turns: &Turns,
        bias: Option<Tensor<4>>,
        cache: Option<&mut KvCache>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        let q = split_heads(self.q_proj.forward(x.clone()), self.num_heads);
        let k = split_heads(self.k_proj.forward(x.clone()), self.num_key_value_heads);
        let v = split_heads(self.v_proj.forward(x), self.num_key_value_heads);
        let (q, k) = (turns.apply(q), turns.apply(k));
        let (scale, keep_map) = ((self.head_dim as f64).powf(-0.5), kept.wants_maps());
        let attended = match cache {
            Some(cache) => {
                cache.append(k, v);
                cache.attend(q, scale, bias, keep_map)
            }
            None => attention(q, k, v, scale, bias, keep_map),
        };
        kept.attentions.extend(attended.map);
        self.o_proj.forward(merge_heads(attended.output))
    }
}

/// The gated MLP (`LlamaMLP`; Shazeer, 2020).
#[derive(Module, Debug)]
struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    fn load(config: &LlamaConfig, weights: &Weights<'_>) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let bias = config.mlp_bias;
        Self {
            gate_proj: weights.linear("gate_proj", hidden, inner, bias),
            up_proj: weights.linear("up_proj", hidden, inner, bias),
            down_proj: weights.linear("down_proj", inner, hidden, bias),
            activation: config.hidden_act,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.activation.forward(self.gate_proj.forward(x.clone()));
        self.down_proj.forward(gate * self.up_proj.forward(x))
    }
}
