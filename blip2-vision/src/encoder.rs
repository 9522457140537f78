//! The transformer's layers.

use blip2_kernels::{
    Activation, Bias, DotProductAttention, LayerNorm, Linear, Role, Weights, merge_heads, mlp,
    split_heads,
};
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use crate::tower_config::{Family, TowerConfig};

/// A pre-norm transformer layer (`Blip2EncoderLayer`, `CLIPEncoderLayer`).
#[derive(Module, Debug)]
pub(crate) struct EncoderLayer {
    layer_norm1: LayerNorm,
    self_attn: Attention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

impl EncoderLayer {
    pub(crate) fn load(config: &TowerConfig, weights: &Weights<'_>) -> Self {
        let (hidden, eps) = (config.hidden_size, config.layer_norm_eps);
        Self {
            layer_norm1: weights.layer_norm("layer_norm1", hidden, eps),
            self_attn: Attention::load(config, &weights.at("self_attn")),
            layer_norm2: weights.layer_norm("layer_norm2", hidden, eps),
            mlp: Mlp::load(config, &weights.at("mlp")),
        }
    }

    /// # Shapes
    ///
    /// - hidden_states: `[batch, seq, hidden]`
    /// - output: `[batch, seq, hidden]`, and the map `[batch, heads, seq, seq]` if it is kept
    pub(crate) fn forward(
        &self,
        hidden_states: Tensor<3>,
        keep_map: bool,
    ) -> (Tensor<3>, Option<Tensor<4>>) {
        let normed = self.layer_norm1.forward(hidden_states.clone());
        let (hidden_states, map) = self.self_attn.forward(normed, hidden_states, keep_map);
        let normed = self.layer_norm2.forward(hidden_states.clone());
        (self.mlp.forward(normed, hidden_states), map)
    }
}

/// Self-attention (`Blip2Attention`, `CLIPAttention`).
#[derive(Module, Debug)]
struct Attention {
    inputs: Inputs,
    projection: Linear,
    num_heads: usize,
}

/// Where queries, keys and values come from: one matrix or three.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one for each layer, next to megabytes of weights
enum Inputs {
    Fused(Linear),
    Apart(Apart),
}

#[derive(Module, Debug)]
struct Apart {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
}

impl Attention {
    fn load(config: &TowerConfig, weights: &Weights<'_>) -> Self {
        let hidden = config.hidden_size;
        let square = |name| weights.linear(name, hidden, hidden, Bias::With);
        let (inputs, projection) = match config.family {
            Family::Eva { qkv_bias: biased } => {
                let kernel = weights.at("qkv").matrix("weight", 3 * hidden, hidden);
                let bias = biased.then(|| qkv_bias(hidden, weights));
                let qkv = weights.at("qkv").adapted(Linear::new(kernel, bias));
                (Inputs::Fused(qkv), "projection")
            }
            Family::Clip => {
                let apart = Apart {
                    q_proj: square("q_proj"),
                    k_proj: square("k_proj"),
                    v_proj: square("v_proj"),
                };
                (Inputs::Apart(apart), "out_proj")
            }
        };
        Self {
            inputs,
            projection: square(projection),
            num_heads: config.num_attention_heads,
        }
    }

    /// The attention of `normed`, added to `residual`.
    fn forward(
        &self,
        normed: Tensor<3>,
        residual: Tensor<3>,
        keep_map: bool,
    ) -> (Tensor<3>, Option<Tensor<4>>) {
        let [_, _, hidden] = normed.dims();
        let heads = self.num_heads;
        let scale = ((hidden / heads) as f64).powf(-0.5);
        let attention = self.inputs.attention(normed, heads, scale);
        let attended = attention.with_map(keep_map).forward();
        let merged = merge_heads(attended.output);
        (self.projection.forward_onto(merged, residual), attended.map)
    }
}

impl Inputs {
    /// The attention of the layer's input to itself.
    fn attention(
        &self,
        input: Tensor<3>,
        heads: usize,
        scale: f64,
    ) -> DotProductAttention<'static> {
        match self {
            Self::Fused(qkv) => {
                let rounding = qkv.rounding();
                let qkv = split_heads(qkv.forward(input), 3 * heads);
                DotProductAttention::joint(qkv, scale).with_rounding(rounding)
            }
            Self::Apart(apart) => {
                let [q, k, v] = [&apart.q_proj, &apart.k_proj, &apart.v_proj]
                    .map(|linear| split_heads(linear.forward(input.clone()), heads));
                DotProductAttention::new(q, k, v, scale).with_rounding(apart.q_proj.rounding())
            }
        }
    }
}

/// The bias of queries, keys and values. EVA's keys have none: Hugging Face stores the whole with
/// zeros for the keys, the original stores the parts of queries and values alone.
fn qkv_bias(hidden: usize, weights: &Weights<'_>) -> Param<Tensor<1>> {
    if weights.contains("q_bias") && !weights.contains("qkv.bias") {
        let q = weights.param("q_bias", [hidden], Role::Bias).val();
        let v = weights.param("v_bias", [hidden], Role::Bias).val();
        let k = Tensor::zeros([hidden], &q.device());
        Param::from_tensor(Tensor::cat(vec![q, k, v], 0))
    } else {
        weights.at("qkv").param("bias", [3 * hidden], Role::Bias)
    }
}

/// The two-layer perceptron (`Blip2MLP`, `CLIPMLP`).
#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    fn load(config: &TowerConfig, weights: &Weights<'_>) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            fc1: weights.linear("fc1", hidden, inner, Bias::With),
            fc2: weights.linear("fc2", inner, hidden, Bias::With),
            activation: config.hidden_act,
        }
    }

    /// The perceptron of `normed`, added to `residual`.
    fn forward(&self, normed: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        mlp(normed, [&self.fc1, &self.fc2], self.activation, residual)
    }
}
