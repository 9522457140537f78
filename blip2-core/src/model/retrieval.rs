//! Image-text retrieval as a whole: BLIP-2's first stage.

use blip2_io::config::Blip2Config;
use blip2_kernels::{Bias, Linear, Precision, Weights};
use blip2_qformer::{QFormerInput, TextEmbeddings};
use burn::{module::Module, tensor::Tensor};

use super::{
    PromptRows,
    embeds::{EncodedImages, EncodedTexts, ProjectedImages, ProjectedTexts},
    halves::{Blip2VisionModelWithProjection, TextHead, mask},
};
use crate::{error::Blip2Error, whole::whole};

/// BLIP-2 for image-text retrieval (`Blip2ForImageTextRetrieval`; Li et al., 2023, section 3.2):
/// pictures and texts are compared in a space that they share (contrast, ITC), or more closely by
/// reading both together (matching, ITM).
///
/// This is the model on tensors; most users want [`Blip2Retrieval`](crate::Blip2Retrieval), which
/// stands on it.
///
/// ```
/// # use blip2_core::{Blip2Retrieval, CheckpointFolder, TextRows};
/// # let folder = CheckpointFolder::open("../fixtures/blip2_itr")?;
/// # let blip2 = Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let model = blip2.model();
/// let pixel_values = blip2.processor().process(&image)?.tensor(blip2.device());
/// let images = model.encode_images(pixel_values)?;
/// let texts = TextRows::of(&folder)?.rows(&["a dog", "a red triangle"])?;
///
/// // Contrast: each apart, every picture with every text.
/// let (seen, read) = (model.project_images(&images)?, model.encode_texts(&texts)?);
/// assert_eq!(seen.similarity(&model.project_texts(&read)).dims(), [1, 2]);
///
/// // Matching: both together, here two texts with picture 0.
/// let fused = model.fuse_with(&images, &[0, 0], &texts)?;
/// assert_eq!(model.match_logits(fused).dims(), [2, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct Blip2ForImageTextRetrieval {
    vision: Blip2VisionModelWithProjection,
    head: TextHead,
    itm_head: Linear,
    #[module(skip)]
    image_token: Option<u32>,
}

impl Blip2ForImageTextRetrieval {
    /// Builds the model from `weights` at the root of a Hugging Face checkpoint. The vision tower
    /// is held in the cursor's precision, all else in `f32`.
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
        let exact = weights.with_precision(Precision::F32);
        let width = config.qformer_config.hidden_size;
        Ok(Self {
            vision: Blip2VisionModelWithProjection::build(config, weights)?,
            head: TextHead::load(config, weights)?,
            itm_head: exact.linear("itm_head", width, 2, Bias::With),
            image_token: config.image_token_index,
        })
    }

    /// The half that reads pictures.
    pub fn vision(&self) -> &Blip2VisionModelWithProjection {
        &self.vision
    }

    /// The tables that texts are embedded with.
    pub(super) fn text_embeddings(&self) -> &TextEmbeddings {
        &self.head.embeddings
    }

    /// How many tokens a text may have, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.head.embeddings.max_tokens()
    }

    /// Pictures, `[batch, 3, height, width]`, as the image encoder sees them.
    ///
    /// # Errors
    ///
    /// If the pictures' size is not the configured one.
    pub fn encode_images(&self, pixel_values: Tensor<4>) -> Result<EncodedImages, Blip2Error> {
        self.vision.encode(pixel_values)
    }

    /// Pictures in the space that they share with texts.
    ///
    /// # Errors
    ///
    /// As [`Blip2VisionModelWithProjection::project`].
    pub fn project_images(&self, images: &EncodedImages) -> Result<ProjectedImages, Blip2Error> {
        self.vision.project(images)
    }

    /// Texts as the text branch gives them.
    ///
    /// # Errors
    ///
    /// As [`Blip2TextModelWithProjection::encode`](super::Blip2TextModelWithProjection::encode).
    pub fn encode_texts(&self, texts: &PromptRows) -> Result<EncodedTexts, Blip2Error> {
        let output = self.vision.qformer.forward(self.head.input(texts)?)?;
        Ok(EncodedTexts::new(output.last_hidden_state))
    }

    /// Texts in the space that they share with pictures.
    pub fn project_texts(&self, texts: &EncodedTexts) -> ProjectedTexts {
        self.head.project(texts)
    }

    /// Reads each picture and its text together.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, queries + text, q_hidden]`, queries first
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Rows`] if there is not one text for each picture, and as
    /// [`encode_texts`](Self::encode_texts).
    pub fn fuse(
        &self,
        images: &EncodedImages,
        texts: &PromptRows,
    ) -> Result<Tensor<3>, Blip2Error> {
        if images.count() != texts.len() {
            let reason = format!("{} pictures for {} texts", images.count(), texts.len());
            return Err(Blip2Error::Rows { reason });
        }
        let pictures: Vec<usize> = (0..images.count()).collect();
        self.fuse_with(images, &pictures, texts)
    }

    /// Reads texts together with pictures, of which several texts may share one: text `i` with the
    /// picture `pictures[i]`. What a picture shows to the queries' attention is computed once.
    ///
    /// # Shapes
    ///
    /// - output: `[texts, queries + text, q_hidden]`, queries first
    ///
    /// # Errors
    ///
    /// [`Blip2Error::QFormer`] for texts that do not each have one of the pictures, and as
    /// [`encode_texts`](Self::encode_texts).
    pub fn fuse_with(
        &self,
        images: &EncodedImages,
        pictures: &[usize],
        texts: &PromptRows,
    ) -> Result<Tensor<3>, Blip2Error> {
        let input = self.fused_input(images, pictures, texts)?;
        Ok(self.vision.qformer.forward(input)?.last_hidden_state)
    }

    /// What the Q-Former is given of texts and pictures that are read together, for whoever wants more
    /// of it than its last output.
    ///
    /// # Errors
    ///
    /// As [`encode_texts`](Self::encode_texts).
    pub fn fused_input(
        &self,
        images: &EncodedImages,
        pictures: &[usize],
        texts: &PromptRows,
    ) -> Result<QFormerInput, Blip2Error> {
        let queries = self.vision.query_tokens.expand(texts.len());
        let count = self.vision.query_tokens.count();
        Ok(QFormerInput::new(queries)
            .text(self.head.embeddings.forward(texts.ids())?)
            .mask(mask(texts, count, &images.tensor().device()))
            .images(images.tensor(), pictures))
    }

    /// Whether pictures and texts that were read together match: the mean of the head's verdicts
    /// over all queries.
    ///
    /// # Shapes
    ///
    /// - fused: `[batch, queries + text, q_hidden]`, of [`fuse`](Self::fuse)
    /// - output: `[batch, 2]`, the logits of "no match" and "match"
    pub fn match_logits(&self, fused: Tensor<3>) -> Tensor<2> {
        let [batch, ..] = fused.dims();
        let queries = fused.narrow(1, 0, self.vision.query_tokens.count());
        self.itm_head
            .forward(queries)
            .mean_dim(1)
            .reshape([batch, 2])
    }

    /// The texts of rows that begin with image placeholders, as a processor with
    /// `num_query_tokens` makes them; the placeholders mean nothing to this model. Rows of a
    /// checkpoint without placeholders are left as they are.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Placeholders`] naming the first row that does not begin with as many as there
    /// are queries.
    pub fn without_placeholders(&self, rows: &PromptRows) -> Result<PromptRows, Blip2Error> {
        let Some(image_token) = self.image_token else {
            return Ok(rows.clone());
        };
        let expected = self.vision.query_tokens.count();
        for (row, ids) in rows.ids().iter().enumerate() {
            let found = ids.iter().take_while(|&&id| id == image_token).count();
            if found != expected {
                return Err(Blip2Error::Placeholders {
                    row,
                    found,
                    expected,
                    image_token,
                });
            }
        }
        let rest = |row: &Vec<u32>| row.iter().skip(expected).copied().collect();
        let ids = rows.ids().iter().map(rest).collect();
        let rest = |row: &Vec<bool>| row.iter().skip(expected).copied().collect();
        PromptRows::new(ids, rows.mask().iter().map(rest).collect())
    }
}
