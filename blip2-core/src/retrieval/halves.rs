//! The halves of retrieval, each loaded alone.

use std::path::Path;

use blip2_io::preprocessing::{DecodeOptions, ImageProcessor};
use burn::tensor::Device;

use super::{
    Blip2Retrieval, ImageEmbedding, TextEmbedding, TextRows,
    embedding::{of_images, of_texts},
    one,
};
use crate::{
    Blip2Error, Picture,
    model::{Blip2TextModelWithProjection, Blip2VisionModelWithProjection},
    pipeline::pixel_values,
};

/// The half of retrieval that reads texts, without the image encoder and its memory. It opens
/// folders of a `Blip2TextModelWithProjection`, and of a whole retrieval model.
///
/// ```no_run
/// use blip2_core::TextEmbedder;
///
/// let texts = TextEmbedder::from_pretrained("models/blip2-itm-vit-g")?;
/// let dog = texts.embed_text("a dog on the beach")?;
/// # let _ = dog;
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug)]
pub struct TextEmbedder {
    pub(super) model: Blip2TextModelWithProjection,
    pub(super) texts: TextRows,
}

impl TextEmbedder {
    /// Loads a checkpoint folder, on the default CPU device. For another device see
    /// [`Blip2RetrievalBuilder::load_text`](crate::Blip2RetrievalBuilder::load_text).
    ///
    /// # Errors
    ///
    /// As [`Blip2Retrieval::from_pretrained`].
    pub fn from_pretrained(folder: impl AsRef<Path>) -> Result<Self, Blip2Error> {
        Blip2Retrieval::builder(folder).load_text()
    }

    /// A text in the space that it shares with pictures.
    ///
    /// # Errors
    ///
    /// As [`Blip2Retrieval::embed_text`].
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
        let encoded = self.model.encode(&self.texts.rows(&texts)?)?;
        of_texts(&self.model.project(&encoded))
    }

    /// The model on tensors.
    pub fn model(&self) -> &Blip2TextModelWithProjection {
        &self.model
    }
}

/// The half of retrieval that reads pictures. It opens folders of a
/// `Blip2VisionModelWithProjection`, and of a whole retrieval model.
///
/// ```no_run
/// use blip2_core::ImageEmbedder;
///
/// let images = ImageEmbedder::from_pretrained("models/blip2-itm-vit-g")?;
/// let beach = images.embed_image(&images.open("beach.jpg")?)?;
/// # let _ = beach;
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug)]
pub struct ImageEmbedder {
    pub(super) model: Blip2VisionModelWithProjection,
    pub(super) processor: ImageProcessor,
    pub(super) decode: DecodeOptions,
    pub(super) device: Device,
}

impl ImageEmbedder {
    /// Loads a checkpoint folder, on the default CPU device and in the checkpoint's own precision.
    /// For others see
    /// [`Blip2RetrievalBuilder::load_vision`](crate::Blip2RetrievalBuilder::load_vision).
    ///
    /// # Errors
    ///
    /// As [`Blip2Retrieval::from_pretrained`].
    pub fn from_pretrained(folder: impl AsRef<Path>) -> Result<Self, Blip2Error> {
        Blip2Retrieval::builder(folder).load_vision()
    }

    /// Decodes a picture file within the limits that it was built with.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Image`] naming the file and what is wrong with it.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<image::RgbImage, Blip2Error> {
        Ok(blip2_io::preprocessing::decode_file(path, &self.decode)?)
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
        let pictures: Vec<_> = images.into_iter().map(Into::into).collect();
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let transparency = self.decode.transparency;
        let pixels = pixel_values(&pictures, 1, &self.processor, transparency, &self.device)?;
        of_images(&self.model.project(&self.model.encode(pixels)?)?)
    }

    /// The model on tensors.
    pub fn model(&self) -> &Blip2VisionModelWithProjection {
        &self.model
    }
}
