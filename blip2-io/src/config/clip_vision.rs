//! The configuration of CLIP's vision tower.

use blip2_kernels::Activation;
use serde::{Deserialize, Serialize};

use super::{ConfigError, WIDTH, check_size, vision::check_tower};

/// `CLIPVisionConfig`; the defaults are ViT-B/32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, tag = "model_type", rename = "clip_vision_model")]
#[non_exhaustive]
pub struct ClipVisionConfig {
    /// The width of a token. Default 768.
    pub hidden_size: usize,
    /// The width inside the MLP. Default 3072.
    pub intermediate_size: usize,
    /// The width of the space that CLIP shares with texts. Default 512.
    pub projection_dim: usize,
    /// The number of layers. Default 12.
    pub num_hidden_layers: usize,
    /// The number of attention heads. Default 12.
    pub num_attention_heads: usize,
    /// The colour channels of a picture; only 3 is known. Default 3.
    pub num_channels: usize,
    /// The height and width of the pictures it was trained on, in pixels. Default 224.
    pub image_size: usize,
    /// The height and width of a patch, in pixels. Default 32.
    pub patch_size: usize,
    /// The MLP's activation. Default `quick_gelu`.
    pub hidden_act: Activation,
    /// The epsilon of the layer norms. Default 1e-5.
    pub layer_norm_eps: f64,
    /// Dropout of attention maps while training. Default 0.
    pub attention_dropout: f64,
    /// The standard deviation of initial weights. Default 0.02.
    pub initializer_range: f64,
    /// A factor on the standard deviation of initial weights. Default 1.
    pub initializer_factor: f64,
}

setters! { ClipVisionConfig {
    with_hidden_size(hidden_size: usize),
    with_intermediate_size(intermediate_size: usize),
    with_projection_dim(projection_dim: usize),
    with_num_hidden_layers(num_hidden_layers: usize),
    with_num_attention_heads(num_attention_heads: usize),
    with_num_channels(num_channels: usize),
    with_image_size(image_size: usize),
    with_patch_size(patch_size: usize),
    with_hidden_act(hidden_act: Activation),
    with_layer_norm_eps(layer_norm_eps: f64),
    with_attention_dropout(attention_dropout: f64),
    with_initializer_range(initializer_range: f64),
    with_initializer_factor(initializer_factor: f64),
} }

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            attention_dropout: 0.0,
            initializer_range: 0.02,
            initializer_factor: 1.0,
        }
    }
}

impl ClipVisionConfig {
    /// The number of patches of a picture of the configured size.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const PART: &str = "vision_config";
        check_tower(
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.layer_norm_eps,
            [self.image_size, self.patch_size],
        )?;
        if self.num_channels != 3 {
            let reason = "only pictures of three channels are supported".into();
            let key = "num_channels";
            return Err(ConfigError::value(PART, key, self.num_channels, reason));
        }
        check_size(PART, "projection_dim", self.projection_dim, WIDTH)
    }
}
