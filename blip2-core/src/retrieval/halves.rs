//! The halves of retrieval, each loaded alone.

use std::sync::Arc;

use blip2_io::config::Blip2Config;

use crate::{
    embedding::{ImageEmbedding, TextEmbedding, of_images, of_texts},
    error::Blip2Error,
    load::{Loaded, member},
    model::{Blip2TextModelWithProjection, Blip2VisionModelWithProjection},
    picture::Picture,
    verbs::{CompareOptions, embedding_images, embedding_texts, go_on},
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
#[derive(Clone)]
pub struct TextEmbedder {
    pub(super) inner: Arc<Loaded<Self>>,
}

member!(TextEmbedder, Blip2Config, Blip2TextModelWithProjection);
member!(texts TextEmbedder, tokenizer);
embedding_texts!(TextEmbedder, embed_texts);

fn embed_texts<T: AsRef<str>>(
    half: &TextEmbedder,
    texts: impl IntoIterator<Item = T>,
    options: &CompareOptions,
) -> Result<Vec<TextEmbedding>, Blip2Error> {
    options.begun()?;
    let texts: Vec<T> = texts.into_iter().collect();
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let model = &half.inner.model;
    let encoded = model.encode(&half.inner.texts.rows(&texts)?)?;
    of_texts(&model.project(&encoded))
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
#[derive(Clone)]
pub struct ImageEmbedder {
    pub(super) inner: Arc<Loaded<Self>>,
}

member!(ImageEmbedder, Blip2Config, Blip2VisionModelWithProjection);
member!(pictures ImageEmbedder);
embedding_images!(ImageEmbedder, embed_images);

fn embed_images<'a, P: Into<Picture<'a>>>(
    half: &ImageEmbedder,
    images: impl IntoIterator<Item = P>,
    options: &CompareOptions,
) -> Result<Vec<ImageEmbedding>, Blip2Error> {
    let cancel = options.begun()?;
    let pictures: Vec<Picture<'a>> = images.into_iter().map(Into::into).collect();
    if pictures.is_empty() {
        return Ok(Vec::new());
    }
    let Loaded {
        model,
        pictures: reading,
        device,
        ..
    } = half.inner.as_ref();
    let pixels = reading.pixel_values(&pictures, device)?;
    go_on(&cancel)?;
    let encoded = model.encode(pixels)?;
    go_on(&cancel)?;
    of_images(&model.project(&encoded)?)
}
