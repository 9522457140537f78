//! Pictures and texts compared.

use blip2_io::config::ModelKind;
use burn::tensor::Tensor;

use super::parts::{Parts, common, one};
use crate::{
    Blip2Error, ImageEmbedding, MatchScore, Picture, TextEmbedding, Timings,
    model::{BlipForImageTextRetrieval, PaddingSide, PromptRows},
    retrieval::numbers,
};

/// A loaded BLIP-1 that tells how well pictures and texts go together
/// (`BlipForImageTextRetrieval`), as [`Blip2Retrieval`](crate::Blip2Retrieval) does with BLIP-2:
/// by **similarity**, for which each is embedded by itself, and by **matching**, which reads both
/// together.
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
#[derive(Debug)]
pub struct BlipRetrieval {
    model: BlipForImageTextRetrieval,
    parts: Parts,
}

common!(
    BlipRetrieval,
    ModelKind::BlipRetrieval,
    BlipForImageTextRetrieval
);

impl BlipRetrieval {
    /// The probability that a text describes a picture, between 0 and 1. The text is read as the
    /// reference reads it, from the tokenizer's own first token; LAVIS puts its `[ENC]` there.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::EmptyText`], for a text that spells out a special token or has more tokens
    /// than the model has positions, and whatever goes wrong with the picture.
    pub fn match_probability<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        text: &str,
    ) -> Result<f32, Blip2Error> {
        Ok(one(self.match_batch([(image, text)])?)?.probability)
    }

    /// How well each text describes its picture. Each score is what the pair alone gets.
    ///
    /// # Errors
    ///
    /// As [`match_probability`](Self::match_probability); the first fault fails the batch.
    pub fn match_batch<'a, P: Into<Picture<'a>>, T: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, T)>,
    ) -> Result<Vec<MatchScore>, Blip2Error> {
        let (pictures, texts): (Vec<P>, Vec<T>) = pairs.into_iter().unzip();
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rows(&texts)?;
        let image_embeds = self.encoded(pictures)?;
        let _span = tracing::info_span!("stage", name = "match").entered();
        let encoder = self.model.text_encoder();
        let read = encoder.encode(rows.ids(), rows.mask(), Some(&image_embeds))?;
        let logits = numbers(self.model.match_logits(read), "a match")?;
        let (pairs, _) = logits.as_chunks::<2>();
        Ok(pairs.iter().copied().map(MatchScore::new).collect())
    }

    /// How similar a picture and a text are, between −1 and 1: the cosine of their vectors.
    ///
    /// # Errors
    ///
    /// As [`match_probability`](Self::match_probability).
    pub fn similarity<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        text: &str,
    ) -> Result<f32, Blip2Error> {
        // The text first: a fault in it is found at once.
        let text = self.embed_text(text)?;
        self.embed_image(image)?.similarity(&text)
    }

    /// A picture in the space that it shares with texts.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the picture.
    pub fn embed_image<'a>(
        &self,
        image: impl Into<Picture<'a>>,
    ) -> Result<ImageEmbedding, Blip2Error> {
        one(self.embed_image_batch([image])?)
    }

    /// Many pictures in the space that they share with texts. Each is what the picture alone gives.
    ///
    /// # Errors
    ///
    /// As [`embed_image`](Self::embed_image); the first fault fails the batch.
    pub fn embed_image_batch<'a, P: Into<Picture<'a>>>(
        &self,
        images: impl IntoIterator<Item = P>,
    ) -> Result<Vec<ImageEmbedding>, Blip2Error> {
        let pictures: Vec<P> = images.into_iter().collect();
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let projected = self.model.project_images(self.encoded(pictures)?);
        let [_, dim] = projected.dims();
        let values = numbers(projected, "a picture's embedding")?;
        let vectors = values.chunks_exact(dim.max(1));
        Ok(vectors
            .map(|vector| ImageEmbedding::new(dim, vector.to_vec()))
            .collect())
    }

    /// A text in the space that it shares with pictures.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::EmptyText`], and for a text that spells out a special token or has more tokens
    /// than the model has positions.
    pub fn embed_text(&self, text: &str) -> Result<TextEmbedding, Blip2Error> {
        one(self.embed_text_batch([text])?)
    }

    /// Many texts in the space that they share with pictures. Each is what the text alone gives.
    ///
    /// # Errors
    ///
    /// As [`embed_text`](Self::embed_text); the first fault fails the batch.
    pub fn embed_text_batch<T: AsRef<str>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Vec<TextEmbedding>, Blip2Error> {
        let texts: Vec<T> = texts.into_iter().collect();
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rows(&texts)?;
        let _span = tracing::info_span!("stage", name = "text").entered();
        let encoder = self.model.text_encoder();
        let read = encoder.encode(rows.ids(), rows.mask(), None)?;
        TextEmbedding::of(self.model.project_texts(read))
    }

    fn encoded<'a, P: Into<Picture<'a>>>(&self, pictures: Vec<P>) -> Result<Tensor<3>, Blip2Error> {
        let pictures: Vec<Picture<'a>> = pictures.into_iter().map(Into::into).collect();
        let (vision, mut timings) = (self.model.vision_model(), Timings::default());
        self.parts.encode(vision, &pictures, &mut timings)
    }

    /// Texts, padded behind to one length, which the encoder does not see.
    fn rows(&self, texts: &[impl AsRef<str>]) -> Result<PromptRows, Blip2Error> {
        let ids = texts.iter().map(|text| {
            let text = text.as_ref();
            match text.trim() {
                "" => Err(Blip2Error::EmptyText),
                _ => self.parts.ids(text),
            }
        });
        let ids: Vec<_> = ids.collect::<Result<_, _>>()?;
        let pad = self.parts.tokenizer.pad_token_id();
        let pad = pad.or(self.parts.config.text_config.pad_token_id);
        PromptRows::lay_out(&ids, None, 0, pad.unwrap_or_default(), PaddingSide::Right)
    }
}
