//! The stages of a comparison, each in its span.

use burn::tensor::{Tensor, TensorData};

use super::{Blip2Retrieval, MatchScore, embedding::numbers};
use crate::{
    Blip2Error, Picture,
    model::{EncodedImages, ProjectedImages, PromptRows},
    pipeline::pixel_values,
};

impl Blip2Retrieval {
    pub(super) fn encoded(&self, pictures: &[Picture<'_>]) -> Result<EncodedImages, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "vision").entered();
        let transparency = self.decode.transparency;
        let pixels = pixel_values(pictures, 1, &self.processor, transparency, &self.device)?;
        self.model.encode_images(pixels)
    }

    pub(super) fn projected(&self, images: &EncodedImages) -> Result<ProjectedImages, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "qformer").entered();
        self.model.project_images(images)
    }

    pub(super) fn matched(
        &self,
        images: &EncodedImages,
        texts: &PromptRows,
    ) -> Result<Vec<MatchScore>, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "match").entered();
        let logits = self.model.match_logits(self.model.fuse(images, texts)?);
        let logits = numbers(logits, "a match")?;
        let (pairs, _) = logits.as_chunks::<2>();
        Ok(pairs.iter().copied().map(MatchScore::new).collect())
    }

    /// How well one text describes pictures that were encoded before, off the device.
    pub(crate) fn match_patches<'p>(
        &self,
        photos: impl IntoIterator<Item = &'p [f32]>,
        text: &str,
    ) -> Result<Vec<MatchScore>, Blip2Error> {
        let texts = self.texts.rows(&[text])?;
        let [patches, width] = self.patch_shape();
        let mut scores = Vec::new();
        let photos: Vec<_> = photos.into_iter().collect();
        // In parts, so that a long list does not need as much memory.
        for part in photos.chunks(PART) {
            let other = part.iter().find(|photo| photo.len() != patches * width);
            if let Some(photo) = other {
                let (image, other) = (photo.len(), patches * width);
                return Err(Blip2Error::Incomparable { image, other });
            }
            let data = TensorData::new(part.concat(), [part.len(), patches, width]);
            let images = EncodedImages::new(Tensor::from_data(data, &self.device));
            scores.extend(self.matched(&images, &repeated(&texts, part.len())?)?);
        }
        Ok(scores)
    }
}

/// How many pictures are matched at once.
const PART: usize = 16;

/// A single row, several times.
fn repeated(row: &PromptRows, count: usize) -> Result<PromptRows, Blip2Error> {
    let ids = row.ids().iter().cycle().take(count).cloned().collect();
    PromptRows::new(
        ids,
        row.mask().iter().cycle().take(count).cloned().collect(),
    )
}
