//! The vision tower's configuration.

use blip2_kernels::Activation;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ConfigError, LAYERS, PATCHES, PIXELS, WIDTH, check_epsilon, check_heads, check_size};

/// `Blip2VisionConfig`; the defaults are ViT-g, the tower of the published checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Blip2VisionConfig {
    /// Which tower it is. Default EVA's.
    #[serde(rename = "model_type")]
    pub family: VisionFamily,
    /// The width of a token. Default 1408.
    pub hidden_size: usize,
    /// The width inside the MLP. Default 6144.
    pub intermediate_size: usize,
    /// The number of layers. Default 39.
    pub num_hidden_layers: usize,
    /// The number of attention heads. Default 16.
    pub num_attention_heads: usize,
    /// The height and width of the pictures it was trained on, in pixels. Pixels beyond the last
    /// whole patch are not seen. Default 224.
    pub image_size: usize,
    /// The height and width of a patch, in pixels. Default 14.
    pub patch_size: usize,
    /// The MLP's activation. Default `gelu`.
    pub hidden_act: Activation,
    /// The epsilon of the layer norms. Default 1e-6.
    pub layer_norm_eps: f64,
    /// Dropout of attention maps while training. Default 0.
    pub attention_dropout: f64,
    /// The standard deviation of initial weights. Default 1e-10.
    pub initializer_range: f64,
    /// Whether queries, keys and values have a bias. Default true.
    pub qkv_bias: bool,
}

setters! { Blip2VisionConfig {
    with_family(family: VisionFamily),
    with_hidden_size(hidden_size: usize),
    with_intermediate_size(intermediate_size: usize),
    with_num_hidden_layers(num_hidden_layers: usize),
    with_num_attention_heads(num_attention_heads: usize),
    with_image_size(image_size: usize),
    with_patch_size(patch_size: usize),
    with_hidden_act(hidden_act: Activation),
    with_layer_norm_eps(layer_norm_eps: f64),
    with_attention_dropout(attention_dropout: f64),
    with_initializer_range(initializer_range: f64),
    with_qkv_bias(qkv_bias: bool),
} }

/// The architecture of a BLIP-2's vision tower, by the `model_type` of its `vision_config`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum VisionFamily {
    /// EVA's ViT, whatever type the configuration names but CLIP's: one matrix for queries, keys
    /// and values, and patches with a bias.
    #[default]
    Eva,
    /// CLIP's (`clip_vision_model`), as LAVIS pairs ViT-L with BLIP-2: all positions pass the last
    /// norm, unlike in CLIP itself. `transformers` cannot run it.
    Clip,
}

const CLIP: &str = "clip_vision_model";

impl Serialize for VisionFamily {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Eva => "blip_2_vision_model",
            Self::Clip => CLIP,
        })
    }
}

impl<'de> Deserialize<'de> for VisionFamily {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        Ok(match name.as_deref() {
            Some(CLIP) => Self::Clip,
            _ => Self::Eva,
        })
    }
}

impl Default for Blip2VisionConfig {
    fn default() -> Self {
        Self {
            family: VisionFamily::Eva,
            hidden_size: 1408,
            intermediate_size: 6144,
            num_hidden_layers: 39,
            num_attention_heads: 16,
            image_size: 224,
            patch_size: 14,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-6,
            attention_dropout: 0.0,
            initializer_range: 1e-10,
            qkv_bias: true,
        }
    }
}

impl Blip2VisionConfig {
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
        check_tower(
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.layer_norm_eps,
            [self.image_size, self.patch_size],
        )
    }
}

/// Checks what every vision tower's numbers must keep.
pub(super) fn check_tower(
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    layer_norm_eps: f64,
    [image_size, patch_size]: [usize; 2],
) -> Result<(), ConfigError> {
    const PART: &str = "vision_config";
    check_size(PART, "intermediate_size", intermediate_size, WIDTH)?;
    check_size(PART, "num_hidden_layers", num_hidden_layers, LAYERS)?;
    check_heads(PART, "hidden_size", hidden_size, num_attention_heads)?;
    check_epsilon(PART, "layer_norm_eps", layer_norm_eps)?;
    check_size(PART, "patch_size", patch_size, PIXELS)?;
    if image_size < patch_size {
        return Err(ConfigError::value(
            PART,
            "image_size",
            image_size,
            format!("must be at least patch_size = {patch_size}"),
        ));
    }
    check_size(PART, "image_size", image_size, PIXELS)?;
    check_size(
        PART,
        "image_size / patch_size",
        image_size / patch_size,
        PATCHES,
    )?;
    Ok(())
}
