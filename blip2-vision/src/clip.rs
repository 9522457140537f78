//! CLIP's tower as a whole, with and without its projection.

use blip2_io::config::ClipVisionConfig;
use blip2_kernels::{Bias, LayerNorm, Linear, Weights};
use burn::{module::Module, tensor::Tensor};

use crate::{
    error::VisionError,
    model::VisionOutput,
    options::VisionOptions,
    tower::{Passed, Tower},
};

/// CLIP's vision tower (`CLIPVisionModel`; Radford et al., 2021): the patches have no bias, a norm
/// stands before the first layer, and only the class token passes the one after the last.
///
/// ```
/// use blip2_vision::burn::tensor::{Device, Tensor};
/// use blip2_vision::{CheckpointFolder, CheckpointWeights, ClipVisionModel, VisionOptions, Weights};
///
/// let (folder, device) = (CheckpointFolder::open("../fixtures/clip_vision_plain")?, Device::flex());
/// let (config, checkpoint) = (folder.clip_vision_config()?, folder.checkpoint()?);
/// let source = CheckpointWeights::new(&checkpoint);
/// let model = ClipVisionModel::load(&config, &Weights::new(&source, &device))?;
/// source.finish(&["position_ids"])?;
///
/// let side = config.image_size;
/// let pixel_values = Tensor::zeros([1, 3, side, side], &device);
/// let seen = model.forward(pixel_values, &VisionOptions::default())?;
/// assert_eq!(model.pool(seen.last_hidden_state).dims(), [1, config.hidden_size]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
pub struct ClipVisionModel {
    tower: Tower,
    post_layernorm: LayerNorm,
}

impl ClipVisionModel {
    /// Builds the tower from the weights below the cursor (`embeddings`, `pre_layrnorm`,
    /// `encoder.layers`, …), or below `vision_model` if that is where they are: a tower that was
    /// saved alone has them at the root, one that was part of a CLIP below `vision_model`.
    ///
    /// # Errors
    ///
    /// [`VisionError::Config`] for a configuration that makes no sense. What the source of weights
    /// lacks is no error here: the source keeps that account.
    pub fn load(config: &ClipVisionConfig, weights: &Weights<'_>) -> Result<Self, VisionError> {
        config.validate()?;
        let nested = weights.at("vision_model");
        let weights = if weights.contains("embeddings.class_embedding")
            || !nested.contains("embeddings.class_embedding")
        {
            weights
        } else {
            &nested
        };
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
    /// As [`VisionModel::forward`](crate::VisionModel::forward).
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
            last_hidden_state: output,
            hidden_states,
            attentions,
        })
    }

    /// One vector for each picture, the reference's `pooler_output`: the class token of the last
    /// hidden state, normed.
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

/// CLIP's vision tower with the projection into the space that it shares with texts
/// (`CLIPVisionModelWithProjection`).
///
/// ```
/// use blip2_vision::burn::tensor::{Device, Tensor};
/// use blip2_vision::{
///     ClipVisionConfig, ClipVisionModelWithProjection, RandomWeights, VisionOptions, Weights,
/// };
///
/// let config = ClipVisionConfig::default()
///     .with_hidden_size(32)
///     .with_intermediate_size(64)
///     .with_projection_dim(24)
///     .with_num_hidden_layers(2)
///     .with_num_attention_heads(4)
///     .with_image_size(28)
///     .with_patch_size(14);
/// let device = Device::flex();
/// let source = RandomWeights::new(0, 0.02); // or a checkpoint, by `blip2-io`
/// let model = ClipVisionModelWithProjection::load(&config, &Weights::new(&source, &device))?;
///
/// let pixel_values = Tensor::<4>::zeros([1, 3, 28, 28], &device);
/// let output = model.vision_model().forward(pixel_values, &VisionOptions::default())?;
/// let pooled = model.vision_model().pool(output.last_hidden_state);
/// assert_eq!(model.project(pooled).dims(), [1, 24]);
/// # Ok::<(), blip2_vision::VisionError>(())
/// ```
#[derive(Module, Debug)]
pub struct ClipVisionModelWithProjection {
    vision_model: ClipVisionModel,
    visual_projection: Linear,
}

impl ClipVisionModelWithProjection {
    /// Builds the tower from `vision_model` and the projection from `visual_projection` below the
    /// cursor.
    ///
    /// # Errors
    ///
    /// As [`ClipVisionModel::load`].
    pub fn load(config: &ClipVisionConfig, weights: &Weights<'_>) -> Result<Self, VisionError> {
        let (hidden, projected) = (config.hidden_size, config.projection_dim);
        Ok(Self {
            vision_model: ClipVisionModel::load(config, &weights.at("vision_model"))?,
            visual_projection: weights.linear(
                "visual_projection",
                hidden,
                projected,
                Bias::Without,
            ),
        })
    }

    /// The tower.
    pub fn vision_model(&self) -> &ClipVisionModel {
        &self.vision_model
    }

    /// Projects pooled pictures into the space that they share with texts, the reference's
    /// `image_embeds`; not normalised, as there.
    ///
    /// # Shapes
    ///
    /// - pooled: `[batch, hidden]`, of [`ClipVisionModel::pool`]
    /// - output: `[batch, projection_dim]`
    pub fn project(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.visual_projection.forward(pooled)
    }
}
