//! The tower as a whole.

use blip2_kernels::{LayerNorm, Weights};
use burn::{module::Module, tensor::Tensor};

use crate::{Blip2VisionConfig, VisionError, embeddings::Embeddings, encoder::EncoderLayer};

/// The vision tower (`Blip2VisionModel`; EVA, Fang et al., 2022).
#[derive(Module, Debug)]
pub struct VisionModel {
    embeddings: Embeddings,
    layers: Vec<EncoderLayer>,
    post_layernorm: LayerNorm,
}

/// What a [`forward`](VisionModel::forward) is to keep, and how it treats other sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VisionOptions {
    /// Keep the hidden states of every layer.
    pub output_hidden_states: bool,
    /// Keep the attention maps of every layer.
    pub output_attentions: bool,
    /// Accept pictures of other sizes than the configured one, with interpolated positions. They
    /// need not be square, nor multiples of a patch: pixels beyond the last whole one are left out.
    pub interpolate_pos_encoding: bool,
}

/// What a [`forward`](VisionModel::forward) returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VisionOutput {
    /// The normed output of the last layer, `[batch, patches + 1, hidden]`; the class token is
    /// the first of the sequence.
    pub last_hidden_state: Tensor<3>,
    /// Each `[batch, patches + 1, hidden]`: the embeddings, then each layer's output, the last of
    /// them before the final norm. Empty unless asked for.
    pub hidden_states: Vec<Tensor<3>>,
    /// Each layer's map, `[batch, heads, seq, seq]`. Empty unless asked for.
    pub attentions: Vec<Tensor<4>>,
}

impl VisionModel {
    /// Builds the tower from the weights below the cursor (`embeddings`, `encoder.layers`, …).
    ///
    /// # Errors
    ///
    /// [`VisionError::Config`] for a configuration that makes no sense. What the source of weights
    /// lacks is no error here: the source keeps that account.
    pub fn load(config: &Blip2VisionConfig, weights: &Weights<'_>) -> Result<Self, VisionError> {
        config.validate()?;
        let layers = weights.at("encoder").at("layers");
        Ok(Self {
            embeddings: Embeddings::load(config, &weights.at("embeddings")),
            layers: (0..config.num_hidden_layers)
                .map(|n| EncoderLayer::load(config, &layers.at(&n.to_string())))
                .collect(),
            post_layernorm: weights.layer_norm(
                "post_layernorm",
                config.hidden_size,
                config.layer_norm_eps,
            ),
        })
    }

    /// Encodes pictures.
    ///
    /// # Shapes
    ///
    /// - pixel_values: `[batch, 3, height, width]`, normalised, of any float format
    /// - output: see [`VisionOutput`]
    ///
    /// # Errors
    ///
    /// [`VisionError`] for an empty batch, other than three channels, less than one patch, or
    /// another size than the configured one unless
    /// [`interpolate_pos_encoding`](VisionOptions::interpolate_pos_encoding) is set.
    pub fn forward(
        &self,
        pixel_values: Tensor<4>,
        options: &VisionOptions,
    ) -> Result<VisionOutput, VisionError> {
        let mut hidden = self
            .embeddings
            .forward(pixel_values, options.interpolate_pos_encoding)?;
        let (mut hidden_states, mut attentions) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            if options.output_hidden_states {
                hidden_states.push(hidden.clone());
            }
            let (output, map) = layer.forward(hidden, options.output_attentions);
            hidden = output;
            attentions.extend(map);
        }
        if options.output_hidden_states {
            hidden_states.push(hidden.clone());
        }
        let last_hidden_state = self.post_layernorm.forward(hidden);
        Ok(VisionOutput {
            last_hidden_state,
            hidden_states,
            attentions,
        })
    }

    /// One vector for each picture, the reference's `pooler_output`: the class token of the last
    /// hidden state, which was normed already, through the same norm once more.
    ///
    /// # Shapes
    ///
    /// - last_hidden_state: `[batch, patches + 1, hidden]`, of a [`VisionOutput`]
    /// - output: `[batch, hidden]`
    pub fn pool(&self, last_hidden_state: Tensor<3>) -> Tensor<2> {
        let class = last_hidden_state.narrow(1, 0, 1);
        self.post_layernorm.forward(class).squeeze_dim(1)
    }
}
