//! What the towers of BLIP-2 and of CLIP have in common: patches, positions and pre-norm layers.

use blip2_io::config::{Blip2VisionConfig, ClipVisionConfig, VisionFamily};
use blip2_kernels::{Activation, Kept, LayerNorm, Weights, recompute};
use burn::{module::Module, tensor::Tensor};

use crate::{VisionError, VisionOptions, embeddings::Embeddings, encoder::EncoderLayer};

/// The numbers that decide a tower's shape.
#[derive(Debug, Clone)]
pub(crate) struct TowerConfig {
    pub(crate) family: Family,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) image_size: usize,
    pub(crate) patch_size: usize,
    pub(crate) hidden_act: Activation,
    pub(crate) layer_norm_eps: f64,
}

/// Where the towers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// BLIP-2's: one matrix for queries, keys and values, patches with a bias.
    Eva {
        /// Whether that matrix has a bias.
        qkv_bias: bool,
    },
    /// CLIP's: three matrices, patches without a bias, a norm before the first layer.
    Clip,
}

impl TowerConfig {
    pub(crate) fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

impl From<&Blip2VisionConfig> for TowerConfig {
    fn from(config: &Blip2VisionConfig) -> Self {
        Self {
            family: match config.family {
                VisionFamily::Eva => Family::Eva {
                    qkv_bias: config.qkv_bias,
                },
                VisionFamily::Clip => Family::Clip,
            },
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            image_size: config.image_size,
            patch_size: config.patch_size,
            hidden_act: config.hidden_act,
            layer_norm_eps: config.layer_norm_eps,
        }
    }
}

impl From<&ClipVisionConfig> for TowerConfig {
    fn from(config: &ClipVisionConfig) -> Self {
        Self {
            family: Family::Clip,
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            image_size: config.image_size,
            patch_size: config.patch_size,
            hidden_act: config.hidden_act,
            layer_norm_eps: config.layer_norm_eps,
        }
    }
}

/// A tower up to and without its last norm.
#[derive(Module, Debug)]
pub(crate) struct Tower {
    embeddings: Embeddings,
    pre_layernorm: Option<LayerNorm>,
    layers: Vec<EncoderLayer>,
}

/// What went through a tower.
pub(crate) struct Passed {
    /// The last layer's output, `[batch, patches + 1, hidden]`.
    pub(crate) output: Tensor<3>,
    /// What each layer read, then what the last gave; empty unless asked for.
    pub(crate) hidden_states: Vec<Tensor<3>>,
    /// Each layer's map, `[batch, heads, seq, seq]`; empty unless asked for.
    pub(crate) attentions: Vec<Tensor<4>>,
}

impl Tower {
    pub(crate) fn load(config: &TowerConfig, weights: &Weights<'_>) -> Self {
        let (hidden, eps) = (config.hidden_size, config.layer_norm_eps);
        let layers = weights.at("encoder").at("layers");
        Self {
            embeddings: Embeddings::load(config, &weights.at("embeddings")),
            // The missing letter is in every CLIP checkpoint.
            pre_layernorm: (config.family == Family::Clip)
                .then(|| weights.layer_norm("pre_layrnorm", hidden, eps)),
            layers: (0..config.num_hidden_layers)
                .map(|n| EncoderLayer::load(config, &layers.at(&n.to_string())))
                .collect(),
        }
    }

    /// Takes `[batch, 3, height, width]` through all layers.
    pub(crate) fn forward(
        &self,
        pixel_values: Tensor<4>,
        options: &VisionOptions,
    ) -> Result<Passed, VisionError> {
        let mut hidden = self
            .embeddings
            .forward(pixel_values, options.interpolate_pos_encoding)?;
        if let Some(norm) = &self.pre_layernorm {
            hidden = norm.forward(hidden);
        }
        let mut kept = Kept::new(options.keep);
        for layer in &self.layers {
            kept.hidden(&hidden);
            if !kept.wants_maps() {
                hidden = recompute::layer(layer, hidden, |layer, hidden| {
                    layer.forward(hidden, false).0
                });
                continue;
            }
            let (output, map) = layer.forward(hidden, true);
            hidden = output;
            kept.attention(map);
        }
        kept.hidden(&hidden);
        Ok(Passed {
            output: hidden,
            hidden_states: kept.hidden_states,
            attentions: kept.attentions,
        })
    }
}
