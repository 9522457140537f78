//! The halves of image-text retrieval: one reads pictures, the other texts.

use blip2_io::config::{Blip2Config, ConfigError};
use blip2_kernels::{Bias, Linear, Precision, Weights};
use blip2_qformer::{QFormer, QFormerError, QFormerInput, QueryTokens, TextEmbeddings};
use blip2_vision::{VisionModel, VisionOptions};
use burn::{
    module::Module,
    tensor::{Bool, Device, Tensor, TensorData},
};

use super::{
    PromptRows,
    embeds::{EncodedImages, EncodedTexts, ProjectedImages, ProjectedTexts, unit},
};
use crate::{error::Blip2Error, whole::whole};

/// The half that puts pictures into the space they share with texts
/// (`Blip2VisionModelWithProjection`).
///
/// ```
/// use blip2_core::burn::tensor::Tensor;
/// use blip2_core::model::Blip2VisionModelWithProjection;
/// use blip2_core::{CheckpointFolder, CheckpointWeights, Device, Weights};
///
/// let (folder, device) = (CheckpointFolder::open("../fixtures/blip2_itr")?, Device::flex());
/// let checkpoint = folder.checkpoint()?; // the whole model's, of which this half is read
/// let source = CheckpointWeights::new(&checkpoint);
/// let weights = Weights::new(&source, &device);
/// let model = Blip2VisionModelWithProjection::load(&folder.config()?, &weights)?;
///
/// let side = folder.config()?.vision_config.image_size;
/// let images = model.encode(Tensor::zeros([1, 3, side, side], &device))?;
/// assert_eq!(model.project(&images)?.tensor().dims(), [1, 8, 16]); // a vector for each query
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct Blip2VisionModelWithProjection {
    vision_model: VisionModel,
    pub(super) query_tokens: QueryTokens,
    pub(super) qformer: QFormer,
    vision_projection: Linear,
}

impl Blip2VisionModelWithProjection {
    /// Builds the model from `weights` at the root of a checkpoint: one of its own, or the whole
    /// retrieval model's. The vision tower is held in the cursor's precision, all else in `f32`.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense, and [`Blip2Error::Holes`] if the source of the
    /// weights did not give every tensor; why, it tells in its own account.
    pub fn load(config: &Blip2Config, weights: &Weights<'_>) -> Result<Self, Blip2Error> {
        whole(Self::build(config, weights)?)
    }

    /// The model, perhaps with holes where `weights` gave nothing.
    pub(crate) fn build(config: &Blip2Config, weights: &Weights<'_>) -> Result<Self, Blip2Error> {
        config.validate()?;
        let exact = weights.with_precision(Precision::F32);
        let width = config.qformer_config.hidden_size;
        let shared = shared_width(config)?;
        Ok(Self {
            vision_model: VisionModel::load(&config.vision_config, &weights.at("vision_model"))?,
            query_tokens: QueryTokens::load(config.num_query_tokens, width, &exact),
            qformer: QFormer::load(&config.qformer_config, &exact.at("qformer"))?,
            vision_projection: exact.linear("vision_projection", width, shared, Bias::With),
        })
    }

    /// The image encoder.
    pub fn vision_model(&self) -> &VisionModel {
        &self.vision_model
    }

    /// The Q-Former.
    pub fn qformer(&self) -> &QFormer {
        &self.qformer
    }

    /// Pictures, `[batch, 3, height, width]`, as the image encoder sees them.
    ///
    /// # Errors
    ///
    /// If the pictures' size is not the configured one.
    pub fn encode(&self, pixel_values: Tensor<4>) -> Result<EncodedImages, Blip2Error> {
        let usual = VisionOptions::default();
        let output = self.vision_model.forward(pixel_values, &usual)?;
        Ok(EncodedImages::new(output.last_hidden_state))
    }

    /// The queries' views of pictures, in the space that pictures share with texts.
    ///
    /// # Errors
    ///
    /// If the pictures were encoded by a tower of another width.
    pub fn project(&self, images: &EncodedImages) -> Result<ProjectedImages, Blip2Error> {
        Ok(self.projected(self.query(images)?))
    }

    /// What the queries gather from pictures, `[batch, queries, q_hidden]`, before it is projected.
    ///
    /// # Errors
    ///
    /// If the pictures were encoded by a tower of another width.
    pub fn query(&self, images: &EncodedImages) -> Result<Tensor<3>, Blip2Error> {
        Ok(self
            .qformer
            .forward(self.query_input(images))?
            .last_hidden_state)
    }

    /// The Q-Former's input for encoded pictures: every query attends to every patch.
    pub fn query_input(&self, images: &EncodedImages) -> QFormerInput {
        QFormerInput::new(self.query_tokens.expand(images.count())).image(images.tensor())
    }

    /// Queries as the Q-Former leaves them, `[batch, queries, q_hidden]`, in the shared space.
    pub(crate) fn projected(&self, queries: Tensor<3>) -> ProjectedImages {
        ProjectedImages::new(self.vision_projection.forward(queries))
    }
}

/// What both models that read text have for it besides the Q-Former.
#[derive(Module, Debug)]
pub(super) struct TextHead {
    pub(super) embeddings: TextEmbeddings,
    text_projection: Linear,
}

impl TextHead {
    pub(super) fn load(config: &Blip2Config, weights: &Weights<'_>) -> Result<Self, Blip2Error> {
        let qformer = &config.qformer_config;
        if !qformer.use_qformer_text_input {
            return Err(QFormerError::NoTextBranch.into());
        }
        let exact = weights.with_precision(Precision::F32);
        let (width, shared) = (qformer.hidden_size, shared_width(config)?);
        Ok(Self {
            embeddings: TextEmbeddings::load(qformer, &exact.at("embeddings")),
            text_projection: exact.linear("text_projection", width, shared, Bias::With),
        })
    }

    /// What the Q-Former is given of texts alone.
    pub(super) fn input(&self, texts: &PromptRows) -> Result<QFormerInput, Blip2Error> {
        let embeds = self.embeddings.forward(texts.ids())?;
        let mask = mask(texts, 0, &embeds.device());
        Ok(QFormerInput::text_only(embeds).mask(mask))
    }

    /// A text's first token stands for the whole.
    pub(super) fn project(&self, texts: &EncodedTexts) -> ProjectedTexts {
        let first = texts.tensor().narrow(1, 0, 1).squeeze_dim(1);
        ProjectedTexts::new(self.text_projection.forward::<2>(first))
    }
}

/// The half that puts texts into the space they share with pictures
/// (`Blip2TextModelWithProjection`).
///
/// ```
/// use blip2_core::model::Blip2TextModelWithProjection;
/// use blip2_core::{CheckpointFolder, CheckpointWeights, Device, TextRows, Weights};
///
/// let (folder, device) = (CheckpointFolder::open("../fixtures/blip2_itr")?, Device::flex());
/// let checkpoint = folder.checkpoint()?;
/// let source = CheckpointWeights::new(&checkpoint);
/// let weights = Weights::new(&source, &device);
/// let model = Blip2TextModelWithProjection::load(&folder.config()?, &weights)?;
///
/// let texts = TextRows::of(&folder)?.rows(&["a dog", "a red triangle"])?;
/// assert_eq!(model.project(&model.encode(&texts)?).tensor().dims(), [2, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct Blip2TextModelWithProjection {
    head: TextHead,
    qformer: QFormer,
}

impl Blip2TextModelWithProjection {
    /// Builds the model from `weights` at the root of a checkpoint: one of its own, or the whole
    /// retrieval model's. Everything is held in `f32`.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense or has no text branch, and [`Blip2Error::Holes`] if
    /// the source of the weights did not give every tensor; why, it tells in its own account.
    pub fn load(config: &Blip2Config, weights: &Weights<'_>) -> Result<Self, Blip2Error> {
        whole(Self::build(config, weights)?)
    }

    /// The model, perhaps with holes where `weights` gave nothing.
    pub(crate) fn build(config: &Blip2Config, weights: &Weights<'_>) -> Result<Self, Blip2Error> {
        config.validate()?;
        Ok(Self {
            head: TextHead::load(config, weights)?,
            qformer: QFormer::load(&config.qformer_config, &weights.at("qformer"))?,
        })
    }

    /// The Q-Former.
    pub fn qformer(&self) -> &QFormer {
        &self.qformer
    }

    /// What the Q-Former is given of texts, for whoever wants more of it than its last output.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn input(&self, texts: &PromptRows) -> Result<QFormerInput, Blip2Error> {
        self.head.input(texts)
    }

    /// Texts as the text branch gives them.
    ///
    /// # Errors
    ///
    /// For ids that the vocabulary does not have, and texts with more tokens than there are
    /// positions.
    pub fn encode(&self, texts: &PromptRows) -> Result<EncodedTexts, Blip2Error> {
        let output = self.qformer.forward(self.head.input(texts)?)?;
        Ok(EncodedTexts::new(output.last_hidden_state))
    }

    /// Texts in the space that they share with pictures.
    pub fn project(&self, texts: &EncodedTexts) -> ProjectedTexts {
        self.head.project(texts)
    }

    /// Every token of texts in that space, `[batch, seq, dim]`, each of length 1. The reference
    /// calls these `text_embeds`; only the first of a text was trained to be compared.
    pub fn project_tokens(&self, texts: &EncodedTexts) -> Tensor<3> {
        unit(self.head.text_projection.forward(texts.tensor()))
    }
}

/// The width of the space that pictures and texts share.
fn shared_width(config: &Blip2Config) -> Result<usize, ConfigError> {
    let (part, key) = ("config", "image_text_hidden_size");
    match config.image_text_hidden_size {
        0 => Err(ConfigError::value(part, key, 0, "must be above 0".into())),
        width => Ok(width),
    }
}

/// True where a position counts, `[batch, queries + text]`: all queries do.
pub(super) fn mask(texts: &PromptRows, queries: usize, device: &Device) -> Tensor<2, Bool> {
    let shape = [
        texts.len(),
        queries + texts.mask().first().map_or(0, Vec::len),
    ];
    let rows = texts.mask().iter();
    let flat: Vec<bool> = rows
        .flat_map(|row| std::iter::repeat_n(true, queries).chain(row.iter().copied()))
        .collect();
    Tensor::from_data(TensorData::new(flat, shape), device)
}
