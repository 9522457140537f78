//! The stages of a comparison, each in its span.

use blip2_lm::generate::CancelToken;
use burn::tensor::Tensor;

use super::Blip2Retrieval;
use crate::{
    embedding::{ImageEmbedding, MatchScore, TextEmbedding, numbers, of_images, of_texts},
    error::Blip2Error,
    model::EncodedImages,
    picture::Picture,
    text::PromptRows,
    verbs::{Compares, go_on},
};

impl Compares for Blip2Retrieval {
    fn rows(&self, texts: &[impl AsRef<str>]) -> Result<PromptRows, Blip2Error> {
        self.inner.texts.rows(texts)
    }

    fn see(&self, pictures: &[Picture<'_>], cancel: &CancelToken) -> Result<Tensor<3>, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "vision").entered();
        let pixels = self
            .inner
            .pictures
            .pixel_values(pictures, &self.inner.device)?;
        go_on(cancel)?;
        Ok(self.inner.model.encode_images(pixels)?.tensor())
    }

    fn project(&self, seen: Tensor<3>) -> Result<Vec<ImageEmbedding>, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "qformer").entered();
        of_images(&self.inner.model.project_images(&EncodedImages::new(seen))?)
    }

    fn embed_rows(&self, rows: &PromptRows) -> Result<Vec<TextEmbedding>, Blip2Error> {
        let model = &self.inner.model;
        of_texts(&model.project_texts(&model.encode_texts(rows)?))
    }

    fn match_rows(
        &self,
        seen: Tensor<3>,
        rows: &PromptRows,
    ) -> Result<Vec<MatchScore>, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "match").entered();
        let model = &self.inner.model;
        let logits = model.match_logits(model.fuse(&EncodedImages::new(seen), rows)?);
        let logits = numbers(logits, "a match")?;
        let (pairs, _) = logits.as_chunks::<2>();
        Ok(pairs.iter().copied().map(MatchScore::new).collect())
    }

    fn patch_shape(&self) -> [usize; 2] {
        let vision = &self.inner.config.vision_config;
        [vision.num_patches() + 1, vision.hidden_size]
    }
}
