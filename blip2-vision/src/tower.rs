//! What the towers of BLIP-2 and of CLIP have in common: patches, positions and pre-norm layers.

use blip2_kernels::{Keep, Kept, LayerNorm, Weights, in_groups, layers_in_pool, recompute};
use burn::{module::Module, tensor::Tensor};

use crate::{
    embeddings::Embeddings,
    encoder::EncoderLayer,
    error::VisionError,
    options::VisionOptions,
    tower_config::{Family, TowerConfig},
};

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
        let hidden = self
            .embeddings
            .forward(pixel_values, options.interpolate_pos_encoding)?;
        let ([batch, seq, width], device) = (hidden.dims(), hidden.device());
        Ok(layers_in_pool(
            self,
            &device,
            self.layers.len(),
            [width, batch * seq],
            || self.embedded(hidden, options.keep),
        ))
    }

    /// Takes embedded patches, `[batch, patches + 1, hidden]`, through all layers.
    fn embedded(&self, mut hidden: Tensor<3>, keep: Keep) -> Passed {
        if let Some(norm) = &self.pre_layernorm {
            hidden = norm.forward(hidden);
        }
        if keep == Keep::NOTHING {
            return Passed {
                output: in_groups(self, hidden, |group| self.through(group)),
                hidden_states: Vec::new(),
                attentions: Vec::new(),
            };
        }
        let mut kept = Kept::new(keep);
        for layer in &self.layers {
            kept.hidden(&hidden);
            if !kept.wants_maps() {
                hidden = without_map(layer, hidden);
                continue;
            }
            let (output, map) = layer.forward(hidden, true);
            hidden = output;
            kept.attention(map);
        }
        kept.hidden(&hidden);
        Passed {
            output: hidden,
            hidden_states: kept.hidden_states,
            attentions: kept.attentions,
        }
    }

    /// Some pictures, which know nothing of the others, through all layers.
    fn through(&self, hidden: Tensor<3>) -> Tensor<3> {
        let layers = self.layers.iter();
        layers.fold(hidden, |hidden, layer| without_map(layer, hidden))
    }
}

/// A layer whose map nobody wants.
fn without_map(layer: &EncoderLayer, hidden: Tensor<3>) -> Tensor<3> {
    recompute::layer(layer, hidden, |layer, hidden| {
        layer.forward(hidden, false).0
    })
}
