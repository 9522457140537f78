//! What the configurations of BLIP-2's tower and of CLIP's come to.

use blip2_io::config::{Blip2VisionConfig, ClipVisionConfig, VisionFamily};
use blip2_kernels::Activation;

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
