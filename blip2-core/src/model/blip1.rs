//! BLIP-1 on tensors: an image encoder, and BERTs that look at what it encoded.

use blip2_io::config::BlipConfig;
use blip2_kernels::{Bias, Linear, Precision, Weights};
use blip2_lm::blip_text::{BlipTextLmHeadModel, BlipTextModel, BlipTextSession};
use blip2_vision::VisionModel;
use burn::{module::Module, tensor::Tensor};

use crate::{error::Blip2Error, precision::PrecisionPlan, text::start_token, whole::whole};

/// BLIP-1 that describes pictures (`BlipForConditionalGeneration`; Li et al., 2022).
///
/// ```
/// # let blip = blip2_core::BlipCaptioner::from_pretrained("../fixtures/blip1_caption")?;
/// # let pixel_values = burn::tensor::Tensor::zeros([1, 3, 48, 48], blip.device());
/// use blip2_core::{GenerationConfig, generate::Generator};
/// use blip2_vision::VisionOptions;
///
/// let model = blip.model();
/// let seen = model.vision_model().forward(pixel_values, &VisionOptions::default())?;
/// let prompt = [vec![model.decoder_start()?]];
/// let decoder = model.text_decoder();
/// let mut session = decoder.start(&prompt, &[vec![true]], seen.last_hidden_state, 5)?;
/// let five = GenerationConfig::default().with_max_new_tokens(5);
/// let written = Generator::new(five)?.generate(&mut session, &prompt)?;
/// assert_eq!(written[0][0].tokens.len(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct BlipForConditionalGeneration {
    vision_model: VisionModel,
    text_decoder: BlipTextLmHeadModel,
    #[module(skip)]
    decoder_start: Option<u32>,
}

impl BlipForConditionalGeneration {
    /// Builds the model from `weights` at the root of a Hugging Face checkpoint.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense, and [`Blip2Error::Holes`] if the source of the
    /// weights did not give every tensor.
    pub fn load(
        config: &BlipConfig,
        weights: &Weights<'_>,
        precision: impl Into<PrecisionPlan>,
    ) -> Result<Self, Blip2Error> {
        whole(Self::build(config, weights, precision.into())?)
    }

    /// The model, perhaps with holes where `weights` gave nothing.
    pub(crate) fn build(
        config: &BlipConfig,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self, Blip2Error> {
        let text = weights.with_precision(precision.language_model);
        Ok(Self {
            vision_model: vision(config, weights, precision)?,
            text_decoder: BlipTextLmHeadModel::load(&config.text_config, &text.at("text_decoder"))?,
            decoder_start: config.text_config.bos_token_id,
        })
    }

    /// The image encoder.
    pub fn vision_model(&self) -> &VisionModel {
        &self.vision_model
    }

    /// What writes about encoded pictures.
    pub fn text_decoder(&self) -> &BlipTextLmHeadModel {
        &self.text_decoder
    }

    /// The token that captions begin with.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Incomplete`] if the configuration has none.
    pub fn decoder_start(&self) -> Result<u32, Blip2Error> {
        start_token(self.decoder_start)
    }
}

/// BLIP-1 that answers questions (`BlipForQuestionAnswering`): a text encoder reads the question
/// while it looks at the picture, and a decoder writes the answer while it looks at what that made.
///
/// ```
/// # let blip = blip2_core::BlipAnswerer::from_pretrained("../fixtures/blip1_vqa")?;
/// # let pixel_values = burn::tensor::Tensor::zeros([1, 3, 48, 48], blip.device());
/// use blip2_core::generate::DecodeSession;
/// use blip2_vision::VisionOptions;
///
/// let model = blip.model();
/// let seen = model.vision_model().forward(pixel_values, &VisionOptions::default())?;
/// let question = [blip.tokenizer().encode("what color is the shape?")?];
/// let mask = [vec![true; question[0].len()]];
/// let read = model.text_encoder().encode(&question, &mask, Some(&seen.last_hidden_state))?;
/// let session = model.start(read, 5)?; // for a `Generator`
/// assert_eq!(session.rows(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct BlipForQuestionAnswering {
    vision_model: VisionModel,
    text_encoder: BlipTextModel,
    text_decoder: BlipTextLmHeadModel,
    #[module(skip)]
    decoder_start: Option<u32>,
}

impl BlipForQuestionAnswering {
    /// Builds the model from `weights` at the root of a Hugging Face checkpoint.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense, also if pictures are encoded to another width than
    /// questions: one configuration stands for the encoder and the decoder; and
    /// [`Blip2Error::Holes`] if the source of the weights did not give every tensor.
    pub fn load(
        config: &BlipConfig,
        weights: &Weights<'_>,
        precision: impl Into<PrecisionPlan>,
    ) -> Result<Self, Blip2Error> {
        whole(Self::build(config, weights, precision.into())?)
    }

    /// The model, perhaps with holes where `weights` gave nothing.
    pub(crate) fn build(
        config: &BlipConfig,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self, Blip2Error> {
        config.validate_answering()?;
        let text = weights.with_precision(precision.language_model);
        Ok(Self {
            vision_model: vision(config, weights, precision)?,
            text_encoder: BlipTextModel::load(&config.text_config, &text.at("text_encoder"))?,
            text_decoder: BlipTextLmHeadModel::load(&config.text_config, &text.at("text_decoder"))?,
            decoder_start: config.text_config.bos_token_id,
        })
    }

    /// The image encoder.
    pub fn vision_model(&self) -> &VisionModel {
        &self.vision_model
    }

    /// What reads questions.
    pub fn text_encoder(&self) -> &BlipTextModel {
        &self.text_encoder
    }

    /// What writes answers.
    pub fn text_decoder(&self) -> &BlipTextLmHeadModel {
        &self.text_decoder
    }

    /// A decode of answers to encoded questions, all of whose positions are seen: as in the
    /// reference's `generate` padding is not hidden, so that questions of one batch should have
    /// one length.
    ///
    /// # Shapes
    ///
    /// - question_embeds: `[batch, seq, hidden]`
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Incomplete`] for a configuration without a `bos_token_id` to begin with.
    pub fn start(
        &self,
        question_embeds: Tensor<3>,
        max_new_tokens: usize,
    ) -> Result<BlipTextSession<'_>, Blip2Error> {
        let start = self.decoder_start()?;
        let [rows, ..] = question_embeds.dims();
        let (ids, mask) = (vec![vec![start]; rows], vec![vec![true]; rows]);
        let decoder = &self.text_decoder;
        Ok(decoder.start(&ids, &mask, question_embeds, max_new_tokens)?)
    }

    /// The token that answers begin with.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Incomplete`] if the configuration has none.
    pub fn decoder_start(&self) -> Result<u32, Blip2Error> {
        start_token(self.decoder_start)
    }
}

/// BLIP-1 that compares pictures with texts (`BlipForImageTextRetrieval`).
///
/// ```
/// # let blip = blip2_core::BlipRetrieval::from_pretrained("../fixtures/blip1_itr")?;
/// # let pixel_values = burn::tensor::Tensor::zeros([1, 3, 48, 48], blip.device());
/// use blip2_vision::VisionOptions;
///
/// let model = blip.model();
/// let seen = model.vision_model().forward(pixel_values, &VisionOptions::default())?;
/// let image = seen.last_hidden_state;
/// let (ids, mask) = ([vec![2, 7, 8, 3]], [vec![true; 4]]);
/// let text = model.text_encoder().encode(&ids, &mask, None)?; // apart, to be compared
/// let cosine = model.project_texts(text).matmul(model.project_images(image.clone()).transpose());
/// assert_eq!(cosine.dims(), [1, 1]);
/// let fused = model.text_encoder().encode(&ids, &mask, Some(&image))?; // together, to be matched
/// assert_eq!(model.match_logits(fused).dims(), [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct BlipForImageTextRetrieval {
    vision_model: VisionModel,
    text_encoder: BlipTextModel,
    vision_proj: Linear,
    text_proj: Linear,
    itm_head: Linear,
}

impl BlipForImageTextRetrieval {
    /// Builds the model from `weights` at the root of a Hugging Face checkpoint. The projections
    /// and the head are held in `f32`.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense, and [`Blip2Error::Holes`] if the source of the
    /// weights did not give every tensor.
    pub fn load(
        config: &BlipConfig,
        weights: &Weights<'_>,
        precision: impl Into<PrecisionPlan>,
    ) -> Result<Self, Blip2Error> {
        whole(Self::build(config, weights, precision.into())?)
    }

    /// The model, perhaps with holes where `weights` gave nothing.
    pub(crate) fn build(
        config: &BlipConfig,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self, Blip2Error> {
        let text = weights.with_precision(precision.language_model);
        let exact = weights.with_precision(Precision::F32);
        let [vision_width, text_width] = [
            config.vision_config.hidden_size,
            config.text_config.hidden_size,
        ];
        let shared = config.image_text_hidden_size;
        Ok(Self {
            vision_model: vision(config, weights, precision)?,
            text_encoder: BlipTextModel::load(&config.text_config, &text.at("text_encoder"))?,
            vision_proj: exact.linear("vision_proj", vision_width, shared, Bias::With),
            text_proj: exact.linear("text_proj", text_width, shared, Bias::With),
            itm_head: exact.linear("itm_head", text_width, 2, Bias::With),
        })
    }

    /// The image encoder.
    pub fn vision_model(&self) -> &VisionModel {
        &self.vision_model
    }

    /// What reads texts.
    pub fn text_encoder(&self) -> &BlipTextModel {
        &self.text_encoder
    }

    /// The logits of "does not match" and "matches", of texts that were encoded while looking at
    /// their pictures.
    ///
    /// # Shapes
    ///
    /// - text_embeds: `[batch, seq, hidden]`
    /// - output: `[batch, 2]`
    pub fn match_logits(&self, text_embeds: Tensor<3>) -> Tensor<2> {
        self.itm_head.forward(first(text_embeds))
    }

    /// Pictures in the space that they share with texts, of length one.
    ///
    /// # Shapes
    ///
    /// - image_embeds: `[batch, patches + 1, vision_hidden]`
    /// - output: `[batch, image_text_hidden]`
    pub fn project_images(&self, image_embeds: Tensor<3>) -> Tensor<2> {
        normalized(self.vision_proj.forward(first(image_embeds)))
    }

    /// Texts, encoded without a picture, in the space that they share with pictures, of length one.
    ///
    /// # Shapes
    ///
    /// - text_embeds: `[batch, seq, hidden]`
    /// - output: `[batch, image_text_hidden]`
    pub fn project_texts(&self, text_embeds: Tensor<3>) -> Tensor<2> {
        normalized(self.text_proj.forward(first(text_embeds)))
    }
}

fn vision(
    config: &BlipConfig,
    weights: &Weights<'_>,
    precision: PrecisionPlan,
) -> Result<VisionModel, Blip2Error> {
    config.validate()?;
    let weights = weights.with_precision(precision.vision);
    let tower = config.vision_config.tower();
    Ok(VisionModel::load(&tower, &weights.at("vision_model"))?)
}

/// The first position, which stands for all.
fn first(embeds: Tensor<3>) -> Tensor<2> {
    embeds.narrow(1, 0, 1).squeeze_dim(1)
}

/// Rows of length one (`torch.nn.functional.normalize`).
fn normalized(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    x / length
}
