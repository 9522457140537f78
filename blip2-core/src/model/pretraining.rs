//! BLIP-2's first stage as a whole: retrieval, and a head that writes texts.

use blip2_io::config::Blip2Config;
use blip2_kernels::{Activation, Bias, LayerNorm, Linear, Precision, Role, Weights};
use blip2_qformer::QFormerInput;
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use super::{
    Blip2ForImageTextRetrieval, PromptRows,
    embeds::{EncodedImages, ProjectedImages},
    halves::mask,
};
use crate::{error::Blip2Error, whole::whole};

/// What BLIP-2's first stage trains (`Blip2Qformer` of LAVIS; Li et al., 2023, section 3.2): the model
/// of retrieval, which compares and matches, and a head on its Q-Former that writes texts under a
/// picture's eyes.
///
/// A checkpoint of retrieval has no such head: `cls.predictions` and the contrast's temperature,
/// `temp`, are put beside its weights.
///
/// ```
/// use blip2_core::burn::tensor::Tensor;
/// use blip2_core::model::{Blip2ForPretraining, PaddingSide, PromptRows};
/// use blip2_core::{CheckpointFolder, Device, Weights};
/// use blip2_kernels::RandomWeights;
///
/// let config = CheckpointFolder::open("../fixtures/blip2_itr")?.config()?;
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex()); // to begin with nothing
/// let model = Blip2ForPretraining::load(&config, &Weights::new(&source, &device))?;
///
/// let side = config.vision_config.image_size;
/// let images = model.retrieval().encode_images(Tensor::zeros([1, 3, side, side], &device))?;
/// let texts = PromptRows::lay_out(&[vec![249, 7, 8]], None, 0, 0, PaddingSide::Right)?;
/// let written = model.write(&images, &texts)?;
/// assert_eq!(written.logits.dims(), [1, 3, config.qformer_config.vocab_size]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct Blip2ForPretraining {
    retrieval: Blip2ForImageTextRetrieval,
    temp: Param<Tensor<1>>,
    dense: Linear,
    layer_norm: LayerNorm,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    activation: Activation,
}

/// A text that was written under a picture's eyes, position by position.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Written {
    /// The pictures as the queries see them, in the space that they share with texts: no query
    /// sees the text.
    pub images: ProjectedImages,
    /// The logits of the token after each position, `[batch, text, vocab]`.
    pub logits: Tensor<3>,
}

impl Blip2ForPretraining {
    /// Builds the model from `weights` at the root of a checkpoint. The vision tower is held in the
    /// cursor's precision, all else in `f32`.
    ///
    /// # Errors
    ///
    /// As [`Blip2ForImageTextRetrieval::load`].
    pub fn load(config: &Blip2Config, weights: &Weights<'_>) -> Result<Self, Blip2Error> {
        whole(Self::build(config, weights)?)
    }

    /// The model, perhaps with holes where `weights` gave nothing.
    pub(crate) fn build(config: &Blip2Config, weights: &Weights<'_>) -> Result<Self, Blip2Error> {
        let qformer = &config.qformer_config;
        let exact = weights.with_precision(Precision::F32);
        let head = exact.at("cls").at("predictions");
        let transform = head.at("transform");
        let hidden = qformer.hidden_size;
        Ok(Self {
            retrieval: Blip2ForImageTextRetrieval::build(config, weights)?,
            temp: exact.param("temp", [1], Role::Scale),
            dense: transform.linear("dense", hidden, hidden, Bias::With),
            layer_norm: transform.layer_norm("LayerNorm", hidden, qformer.layer_norm_eps),
            bias: head.param("bias", [qformer.vocab_size], Role::Bias),
            activation: qformer.hidden_act,
        })
    }

    /// The part that compares and matches.
    pub fn retrieval(&self) -> &Blip2ForImageTextRetrieval {
        &self.retrieval
    }

    /// What cosines are divided by when they are contrasted, `[1]`.
    pub fn temperature(&self) -> Tensor<1> {
        self.temp.val()
    }

    /// Reads each picture and writes its text: the queries see the picture and one another, and each
    /// position of the text sees the queries and the text up to itself. In LAVIS a text that is to be
    /// written begins with `[DEC]` in place of `[CLS]`.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Rows`] if there is not one text for each picture, and as
    /// [`Blip2ForImageTextRetrieval::encode_texts`].
    pub fn write(&self, images: &EncodedImages, texts: &PromptRows) -> Result<Written, Blip2Error> {
        if images.count() != texts.len() {
            let reason = format!("{} pictures for {} texts", images.count(), texts.len());
            return Err(Blip2Error::Rows { reason });
        }
        let (vision, table) = (self.retrieval.vision(), self.retrieval.text_embeddings());
        let count = vision.query_tokens.count();
        let input = QFormerInput::new(vision.query_tokens.expand(images.count()))
            .text(table.forward(texts.ids())?)
            .mask(mask(texts, count, &images.tensor().device()))
            .image(images.tensor())
            .writing();
        let hidden = vision.qformer.forward(input)?.last_hidden_state;
        let [_, seq, _] = hidden.dims();
        let text = hidden.clone().narrow(1, count, seq - count);
        Ok(Written {
            images: vision.projected(hidden.narrow(1, 0, count)),
            logits: self.logits(text),
        })
    }

    /// BERT's head, over the table of words (`BertLMPredictionHead`).
    fn logits(&self, text: Tensor<3>) -> Tensor<3> {
        let transformed = self.dense.forward_activated(text, self.activation);
        let transformed = self.layer_norm.forward(transformed);
        let words = self.retrieval.text_embeddings();
        words.logits(transformed) + self.bias.val().unsqueeze()
    }
}
