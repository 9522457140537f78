//! The features of each part alone, as `Blip2Model` gives them.

use blip2_vision::VisionOptions;
use burn::tensor::Tensor;

use super::{Blip2ForConditionalGeneration, PromptRows};
use crate::error::Blip2Error;

/// What the image encoder sees in pictures.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_vision::VisionOptions;
///
/// let pixel_values = blip2.processor().process(&image)?.tensor(blip2.device());
/// let seen = blip2.model().image_features(pixel_values, &VisionOptions::default())?;
/// assert_eq!(seen.last_hidden_state.dims(), [1, 1 + 8 * 8, 96]); // 64 pixels a side, patches of 8
/// assert_eq!(seen.pooler_output.dims(), [1, 96]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VisionFeatures {
    /// One vector for each patch, the class token first, `[batch, patches + 1, vision_hidden]`.
    pub last_hidden_state: Tensor<3>,
    /// One vector for each picture, `[batch, vision_hidden]`.
    pub pooler_output: Tensor<2>,
}

/// `Blip2Model` of `transformers` has the same weights as `Blip2ForConditionalGeneration` and these
/// three calls besides.
impl Blip2ForConditionalGeneration {
    /// What the image encoder sees (`get_image_features`).
    ///
    /// # Shapes
    ///
    /// - pixel_values: `[batch, 3, height, width]`
    /// - output: see [`VisionFeatures`]
    ///
    /// # Errors
    ///
    /// As [`VisionModel::forward`](blip2_vision::VisionModel::forward).
    pub fn image_features(
        &self,
        pixel_values: Tensor<4>,
        options: &VisionOptions,
    ) -> Result<VisionFeatures, Blip2Error> {
        let output = self.vision_model().forward(pixel_values, options)?;
        let pooler_output = self.vision_model().pool(output.last_hidden_state.clone());
        Ok(VisionFeatures {
            last_hidden_state: output.last_hidden_state,
            pooler_output,
        })
    }

    /// What the queries gather from pictures, before it is projected for the language model
    /// (`get_qformer_features`).
    ///
    /// # Shapes
    ///
    /// - pixel_values: `[batch, 3, height, width]`
    /// - output: `[batch, queries, q_hidden]`
    ///
    /// # Errors
    ///
    /// As [`image_features`](Self::image_features).
    pub fn qformer_features(
        &self,
        pixel_values: Tensor<4>,
        options: &VisionOptions,
    ) -> Result<Tensor<3>, Blip2Error> {
        let output = self.vision_model().forward(pixel_values, options)?;
        let input = self.query_input(output.last_hidden_state);
        Ok(self.qformer().forward(input)?.last_hidden_state)
    }

    /// What the language model makes of texts, without a picture (`get_text_features`): the last
    /// hidden states of OPT, or of T5's encoder.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, seq, lm_hidden]`
    ///
    /// # Errors
    ///
    /// For ids that the vocabulary does not have, and rows longer than the context.
    pub fn text_features(&self, rows: &PromptRows) -> Result<Tensor<3>, Blip2Error> {
        let embeds = self.language_model().embed(rows.ids())?;
        Ok(self
            .language_model()
            .last_hidden_state(embeds, rows.mask())?)
    }
}
