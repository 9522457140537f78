//! BLIP-2's tower as a whole.

use blip2_io::config::Blip2VisionConfig;
use blip2_kernels::{LayerNorm, Weights};
use burn::{module::Module, tensor::Tensor};

use crate::{
    error::VisionError,
    options::VisionOptions,
    tower::{Passed, Tower},
};

/// The vision tower (`Blip2VisionModel`; EVA, Fang et al., 2022), or CLIP's in its place, where the
/// configuration says so.
///
/// ```
/// use blip2_vision::burn::tensor::{Device, Tensor};
/// use blip2_vision::{CheckpointFolder, CheckpointWeights, VisionModel, VisionOptions, Weights};
///
/// let (folder, device) = (CheckpointFolder::open("../blip2-cli/demo")?, Device::flex());
/// let (config, checkpoint) = (folder.config()?.vision_config, folder.checkpoint()?);
/// let source = CheckpointWeights::new(&checkpoint);
/// let model = VisionModel::load(&config, &Weights::new(&source, &device).at("vision_model"))?;
///
/// let other_size = Tensor::zeros([1, 3, 96, 96], &device);
/// let strict = model.forward(other_size.clone(), &VisionOptions::default());
/// assert!(strict.is_err()); // it was trained at 64
/// let options = VisionOptions::default().with_interpolate_pos_encoding(true);
/// let seen = model.forward(other_size, &options)?.last_hidden_state;
/// assert_eq!(seen.dims(), [1, 1 + 12 * 12, 96]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
pub struct VisionModel {
    tower: Tower,
    post_layernorm: LayerNorm,
}

/// What a [`forward`](VisionModel::forward) returns.
///
/// ```
/// # use blip2_vision::burn::tensor::{Device, Tensor};
/// # use blip2_vision::{Blip2VisionConfig, Keep, RandomWeights, VisionModel, VisionOptions, Weights};
/// # let config = Blip2VisionConfig::default().with_hidden_size(32).with_intermediate_size(64)
/// #     .with_num_hidden_layers(2).with_num_attention_heads(4).with_image_size(28)
/// #     .with_patch_size(14);
/// # let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// # let model = VisionModel::load(&config, &Weights::new(&source, &device))?;
/// # let pixel_values = Tensor::<4>::zeros([1, 3, 28, 28], &device);
/// let output = model.forward(pixel_values, &VisionOptions::default().with_keep(Keep::ALL))?;
/// assert_eq!(output.hidden_states.len(), 1 + 2); // of a tower of two layers
/// let last = output.attentions.last().expect("two layers");
/// assert_eq!(last.dims(), [1, 4, 5, 5]); // where each of class token and patches looks
/// # Ok::<(), blip2_vision::VisionError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VisionOutput {
    /// The output of the last layer, `[batch, patches + 1, hidden]`, normed by a [`VisionModel`]
    /// and as it is by a [`ClipVisionModel`](crate::ClipVisionModel); the class token is the first
    /// of the sequence.
    pub last_hidden_state: Tensor<3>,
    /// Each `[batch, patches + 1, hidden]`: what the first layer reads, then each layer's output,
    /// the last of them before the final norm. Empty unless asked for.
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
        Ok(Self {
            tower: Tower::load(&config.into(), weights),
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
        let Passed {
            output,
            hidden_states,
            attentions,
        } = self.tower.forward(pixel_values, options)?;
        Ok(VisionOutput {
            last_hidden_state: self.post_layernorm.forward(output),
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
