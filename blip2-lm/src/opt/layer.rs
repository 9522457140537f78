//! A layer of OPT.

use blip2_io::config::OptConfig;
use blip2_kernels::{
    Activation, KvCache, LayerNorm, Linear, Weights, attention, merge_heads, mlp, split_heads,
};
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use crate::options::Kept;

/// A transformer layer with its norms before (all sizes but 350M) or behind attention and MLP
/// (`OPTDecoderLayer`).
#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
    norm_before: bool,
    #[module(skip)]
    activation: Activation,
}

impl DecoderLayer {
    pub(super) fn load(config: &OptConfig, weights: &Weights<'_>) -> Self {
        let (hidden, inner, bias) = (config.hidden_size, config.ffn_dim, config.enable_bias);
        Self {
            self_attn: Attention::load(config, &weights.at("self_attn")),
            self_attn_layer_norm: layer_norm(config, "self_attn_layer_norm", weights),
            fc1: weights.linear("fc1", hidden, inner, bias),
            fc2: weights.linear("fc2", inner, hidden, bias),
            final_layer_norm: layer_norm(config, "final_layer_norm", weights),
            norm_before: config.do_layer_norm_before,
            activation: config.activation_function,
        }
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, new, hidden]`
    /// - bias: `[batch or 1, 1, new, keys]`
    pub(super) fn forward(
        &self,
        hidden_states: Tensor<3>,
        bias: Option<Tensor<4>>,
        cache: Option<&mut KvCache>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        kept.hidden(&hidden_states);
        let attend = |x, residual| self.self_attn.forward(x, residual, bias, cache, kept);
        let hidden = self.sublayer(hidden_states, &self.self_attn_layer_norm, attend);
        self.sublayer(hidden, &self.final_layer_norm, |x, residual| {
            mlp(x, [&self.fc1, &self.fc2], self.activation, residual)
        })
    }

    /// `x + f(norm(x))`, or `norm(x + f(x))` where norms stand behind; `f` adds its result to its
    /// second argument.
    fn sublayer(
        &self,
        x: Tensor<3>,
        norm: &LayerNorm,
        f: impl FnOnce(Tensor<3>, Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        if self.norm_before {
            f(norm.forward(x.clone()), x)
        } else {
            norm.forward(f(x.clone(), x))
        }
    }
}

/// A layer norm, with a scale of one and no offset where the configuration says that it has none.
pub(super) fn layer_norm(config: &OptConfig, name: &str, weights: &Weights<'_>) -> LayerNorm {
    const EPS: f64 = 1e-5; // OPT's configuration has no key for it
    let hidden = config.hidden_size;
    if config.layer_norm_elementwise_affine {
        return weights.layer_norm(name, hidden, EPS);
    }
    let device = weights.device();
    let norm = LayerNorm::new(
        Param::from_tensor(Tensor::ones([hidden], device)),
        Param::from_tensor(Tensor::zeros([hidden], device)),
        EPS,
    );
    norm.no_grad() // there is nothing to learn
}

/// Causal self-attention (`OPTAttention`).
#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    num_heads: usize,
}

impl Attention {
    fn load(config: &OptConfig, weights: &Weights<'_>) -> Self {
        let hidden = config.hidden_size;
        let linear = |name| weights.linear(name, hidden, hidden, config.enable_bias);
        Self {
            q_proj: linear("q_proj"),
            k_proj: linear("k_proj"),
            v_proj: linear("v_proj"),
            out_proj: linear("out_proj"),
            num_heads: config.num_attention_heads,
        }
    }

    /// The attention of `x`, added to `residual`.
    fn forward(
        &self,
        x: Tensor<3>,
        residual: Tensor<3>,
        bias: Option<Tensor<4>>,
        cache: Option<&mut KvCache>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        let q = split_heads(self.q_proj.forward(x.clone()), self.num_heads);
        let k = split_heads(self.k_proj.forward(x.clone()), self.num_heads);
        let v = split_heads(self.v_proj.forward(x), self.num_heads);
        let [_, _, _, head_dim] = q.dims();
        let (scale, keep_map) = ((head_dim as f64).powf(-0.5), kept.wants_maps());
        let attended = match cache {
            Some(cache) => {
                cache.append(k, v);
                cache.attend(q, scale, bias, keep_map)
            }
            None => attention(q, k, v, scale, bias, keep_map),
        };
        kept.attentions.extend(attended.map);
        self.out_proj
            .forward_onto(merge_heads(attended.output), residual)
    }
}
