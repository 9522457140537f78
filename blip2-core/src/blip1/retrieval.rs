//! Pictures and texts compared.

use std::sync::Arc;

use blip2_io::config::BlipConfig;
use blip2_lm::generate::CancelToken;
use burn::tensor::Tensor;

use super::see::Sight;
use crate::{
    embedding::{ImageEmbedding, MatchScore, TextEmbedding, numbers},
    error::Blip2Error,
    load::{Loaded, member},
    memory::{MemoryPrediction, Workload},
    model::BlipForImageTextRetrieval,
    picture::Picture,
    text::PromptRows,
    verbs::{Compares, comparing, embedding_images, embedding_texts},
};

/// A loaded BLIP-1 that tells how well pictures and texts go together
/// (`BlipForImageTextRetrieval`), as [`Blip2Retrieval`](crate::Blip2Retrieval) does with BLIP-2:
/// by **similarity**, for which each is embedded by itself, and by **matching**, which reads both
/// together. A text is read as the reference reads it, from the tokenizer's own first token; LAVIS
/// puts its `[ENC]` there.
///
/// ```no_run
/// use blip2_core::{BlipRetrieval, image};
///
/// let blip = BlipRetrieval::from_pretrained("models/blip-itm-base-coco")?;
/// let image = image::open("beach.jpg")?;
/// let text = "a woman and her dog on the beach";
/// println!("{:.0} % sure that they match", 100.0 * blip.match_probability(&image, text)?);
/// println!("similarity {:.2}", blip.similarity(&image, text)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BlipRetrieval {
    pub(super) inner: Arc<Loaded<Self>>,
}

member!(BlipRetrieval, BlipConfig, BlipForImageTextRetrieval);
member!(pictures BlipRetrieval);
member!(texts BlipRetrieval, tokenizer);
comparing!(BlipRetrieval, "../fixtures/blip1_itr");
embedding_images!(BlipRetrieval, comparing::embed_image_batch);
embedding_texts!(BlipRetrieval, comparing::embed_text_batch);

impl Compares for BlipRetrieval {
    fn rows(&self, texts: &[impl AsRef<str>]) -> Result<PromptRows, Blip2Error> {
        self.inner.texts.rows(texts)
    }

    fn see(&self, pictures: &[Picture<'_>], cancel: &CancelToken) -> Result<Tensor<3>, Blip2Error> {
        let vision = self.inner.model.vision_model();
        let (sight, _) = Sight::of(&self.inner, vision, pictures, cancel)?;
        Ok(sight.0)
    }

    fn project(&self, seen: Tensor<3>) -> Result<Vec<ImageEmbedding>, Blip2Error> {
        let projected = self.inner.model.project_images(seen);
        let [_, dim] = projected.dims();
        let values = numbers(projected, "a picture's embedding")?;
        let vectors = values.chunks_exact(dim.max(1));
        Ok(vectors
            .map(|vector| ImageEmbedding::new(dim, vector.to_vec()))
            .collect())
    }

    fn embed_rows(&self, rows: &PromptRows) -> Result<Vec<TextEmbedding>, Blip2Error> {
        let model = &self.inner.model;
        let read = model.text_encoder().encode(rows.ids(), rows.mask(), None)?;
        TextEmbedding::of(model.project_texts(read))
    }

    fn match_rows(
        &self,
        seen: Tensor<3>,
        rows: &PromptRows,
    ) -> Result<Vec<MatchScore>, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "match").entered();
        let model = &self.inner.model;
        let work = Workload::default()
            .with_batch(rows.len())
            .with_prompt_tokens(rows.ids().first().map_or(0, Vec::len))
            .with_image_size(self.inner.pictures.size());
        self.inner
            .memory
            .check(&work, MemoryPrediction::text_peak)?;
        let encoder = model.text_encoder();
        let read = encoder.encode(rows.ids(), rows.mask(), Some(&seen))?;
        let logits = numbers(model.match_logits(read), "a match")?;
        let (pairs, _) = logits.as_chunks::<2>();
        Ok(pairs.iter().copied().map(MatchScore::new).collect())
    }

    fn patch_shape(&self) -> [usize; 2] {
        let vision = &self.inner.config.vision_config;
        let sides = self.inner.pictures.size();
        let patches: usize = sides
            .map(|side| side / vision.patch_size.max(1))
            .iter()
            .product();
        [patches + 1, vision.hidden_size]
    }
}
