//! Pictures and texts compared.

mod compare;
mod halves;
mod load;

use std::sync::Arc;

use blip2_io::config::Blip2Config;

pub use halves::{ImageEmbedder, TextEmbedder};

use crate::{
    embedding::MatchScore,
    error::Blip2Error,
    load::{Loaded, member},
    model::Blip2ForImageTextRetrieval,
    verbs::{
        CompareOptions, comparing, comparing::match_patches, embedding_images, embedding_texts,
    },
};

/// A loaded BLIP-2 of the first stage, which tells how well pictures and texts go together.
///
/// It compares in two ways. **Similarity** is quick: a picture and a text are embedded, each by
/// itself, and what is embedded once can be compared with anything later. **Matching** reads a
/// picture and a text together, which is slower and more exact; so a search compares all and
/// matches the best, as [`PhotoIndex`](crate::PhotoIndex) does.
///
/// It cannot answer questions: that is what [`Blip2Pipeline`](crate::Blip2Pipeline) is for, which
/// takes other checkpoints. It is a handle: cheap to clone, `Send + Sync`, and all methods take
/// `&self`, so that one model serves many threads.
///
/// ```no_run
/// use blip2_core::Blip2Retrieval;
///
/// let blip2 = Blip2Retrieval::from_pretrained("models/blip2-itm-vit-g")?;
/// let image = image::open("beach.jpg")?;
///
/// let text = "a woman and her dog on the beach";
/// println!("{:.0} % sure that they match", 100.0 * blip2.match_probability(&image, text)?);
/// println!("similarity {:.2}", blip2.similarity(&image, text)?);
///
/// let image = blip2.embed_image(&image)?; // once …
/// for text in ["a dog", "a cat"] {
///     println!("{:.2}", image.similarity(&blip2.embed_text(text)?)?); // … for many
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Blip2Retrieval {
    inner: Arc<Loaded<Self>>,
}

member!(Blip2Retrieval, Blip2Config, Blip2ForImageTextRetrieval);
member!(pictures Blip2Retrieval);
member!(texts Blip2Retrieval, tokenizer);
comparing!(Blip2Retrieval, "../fixtures/blip2_itr");
embedding_images!(Blip2Retrieval, comparing::embed_image_batch);
embedding_texts!(Blip2Retrieval, comparing::embed_text_batch);

impl Blip2Retrieval {
    /// A hash of everything that decides what a picture and a text become: all weights, their
    /// precision, and the preprocessing. Computed when it is first needed, by reading the weights
    /// once.
    pub fn fingerprint(&self) -> &str {
        self.inner.fingerprint.get_or_init(|| {
            let Blip2Config {
                vision_config,
                qformer_config,
                ..
            } = &self.inner.config;
            let (precision, processor) = (self.inner.precision.vision, self.processor().config());
            let rest = format!("{precision} {vision_config:?} {qformer_config:?} {processor:?}");
            self.inner.hash(&[""], &rest)
        })
    }

    /// How well one text describes pictures that were encoded before, off the device.
    pub(crate) fn match_patches<'p>(
        &self,
        photos: impl IntoIterator<Item = &'p [f32]>,
        text: &str,
        options: &CompareOptions,
    ) -> Result<Vec<MatchScore>, Blip2Error> {
        match_patches(self, photos, text, options)
    }

    /// Of an embedded picture: how many vectors, and how many numbers in each.
    pub(crate) fn embedding_shape(&self) -> [usize; 2] {
        let config = &self.inner.config;
        [config.num_query_tokens, config.image_text_hidden_size]
    }
}
