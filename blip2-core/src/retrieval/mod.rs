//! Pictures and texts compared.

mod builder;
mod embedding;
mod halves;
mod run;
mod text_rows;

use std::{path::Path, sync::OnceLock};

use blip2_io::{
    Checkpoint, CheckpointFolder, LoadReport,
    config::Blip2Config,
    preprocessing::{DecodeOptions, ImageProcessor},
};
use blip2_kernels::Precision;
use burn::tensor::Device;

pub use builder::Blip2RetrievalBuilder;
pub(crate) use builder::{IGNORABLE, IGNORABLE_BESIDE_RETRIEVAL};
pub use embedding::{EncodedPhoto, ImageEmbedding, MatchScore, TextEmbedding};
pub use halves::{ImageEmbedder, TextEmbedder};
pub use text_rows::TextRows;

use crate::{
    Blip2Error, Picture,
    model::{Blip2ForImageTextRetrieval, PromptRows},
};
use builder::Source;
pub(crate) use embedding::numbers;
use embedding::{of_images, of_texts};

/// A loaded BLIP-2 of the first stage, which tells how well pictures and texts go together.
///
/// It compares in two ways. **Similarity** is quick: a picture and a text are embedded, each by
/// itself, and what is embedded once can be compared with anything later. **Matching** reads a
/// picture and a text together, which is slower and more exact; so a search compares all and
/// matches the best, as [`PhotoIndex`](crate::PhotoIndex) does.
///
/// It cannot answer questions: that is what [`Blip2Pipeline`](crate::Blip2Pipeline) is for, which
/// takes other checkpoints. One pipeline serves many threads: it is `Send + Sync`, and all methods
/// take `&self`.
///
/// ```no_run
/// use blip2_core::{Blip2Retrieval, image};
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
#[derive(Debug)]
pub struct Blip2Retrieval {
    model: Blip2ForImageTextRetrieval,
    config: Blip2Config,
    texts: TextRows,
    processor: ImageProcessor,
    decode: DecodeOptions,
    device: Device,
    precision: Precision,
    checkpoint: Checkpoint,
    report: LoadReport,
    fingerprint: OnceLock<String>,
}

impl Blip2Retrieval {
    /// Loads a Hugging Face checkpoint folder of a `Blip2ForImageTextRetrieval`, on the default CPU
    /// device and in the checkpoint's own precision.
    ///
    /// # Errors
    ///
    /// [`Blip2Error`] naming the file, key or tensors at fault: everything that is missing or
    /// misshapen is listed. [`Blip2Error::WrongModel`] for a folder that holds another member of
    /// the family.
    pub fn from_pretrained(folder: impl AsRef<Path>) -> Result<Self, Blip2Error> {
        Self::builder(folder).load()
    }

    /// Loads a checkpoint folder with other than the default settings.
    pub fn builder(folder: impl AsRef<Path>) -> Blip2RetrievalBuilder {
        Blip2RetrievalBuilder::new(Source::Path(folder.as_ref().to_path_buf()))
    }

    /// Loads a checkpoint that is open already, or that is held in memory.
    pub fn builder_from(folder: CheckpointFolder) -> Blip2RetrievalBuilder {
        Blip2RetrievalBuilder::new(Source::Folder(folder))
    }

    /// Decodes a picture file within the pipeline's limits, for the calls below.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Image`] naming the file and what is wrong with it.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<image::RgbImage, Blip2Error> {
        Ok(blip2_io::preprocessing::decode_file(path, &self.decode)?)
    }

    /// The probability that a text describes a picture, between 0 and 1: the matching head's, which
    /// reads both together.
    ///
    /// # Errors
    ///
    /// For an empty text, one that spells out a special token or has more tokens than the Q-Former
    /// has positions, and whatever goes wrong with the picture.
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
        let (pictures, texts): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .map(|(picture, text)| (picture.into(), text))
            .unzip();
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let texts = self.texts.rows(&texts)?;
        self.matched(&self.encoded(&pictures)?, &texts)
    }

    /// How well one text describes pictures that were encoded before.
    ///
    /// # Errors
    ///
    /// As [`match_probability`](Self::match_probability), and if another model encoded a picture.
    pub fn match_encoded<'p>(
        &self,
        photos: impl IntoIterator<Item = &'p EncodedPhoto>,
        text: &str,
    ) -> Result<Vec<MatchScore>, Blip2Error> {
        let patches = photos.into_iter().map(|photo| photo.patches.as_slice());
        self.match_patches(patches, text)
    }

    /// How similar a picture and a text are, between −1 and 1: the largest cosine of the picture's
    /// vectors with the text's.
    ///
    /// # Errors
    ///
    /// As [`match_probability`](Self::match_probability).
    pub fn similarity<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        text: &str,
    ) -> Result<f32, Blip2Error> {
        one(self.similarity_batch([(image, text)])?)
    }

    /// How similar each picture and its text are. Each number is what the pair alone gets.
    ///
    /// # Errors
    ///
    /// As [`similarity`](Self::similarity); the first fault fails the batch.
    pub fn similarity_batch<'a, P: Into<Picture<'a>>, T: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, T)>,
    ) -> Result<Vec<f32>, Blip2Error> {
        let (pictures, texts): (Vec<P>, Vec<T>) = pairs.into_iter().unzip();
        // Texts first: a fault in them is found at once.
        let texts = self.embed_text_batch(texts)?;
        let images = self.embed_image_batch(pictures)?;
        images
            .iter()
            .zip(&texts)
            .map(|(image, text)| image.similarity(text))
            .collect()
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
        of_images(&self.projected(&self.encoded(&pictures)?)?)
    }

    /// A text in the space that it shares with pictures.
    ///
    /// # Errors
    ///
    /// For an empty text, one that spells out a special token or has more tokens than the Q-Former
    /// has positions.
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
        let _span = tracing::info_span!("stage", name = "text").entered();
        let rows = self.texts.rows(&texts)?;
        of_texts(&self.model.project_texts(&self.model.encode_texts(&rows)?))
    }

    /// Encodes a picture once for everything that retrieval does with it.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the picture.
    pub fn encode<'a>(&self, image: impl Into<Picture<'a>>) -> Result<EncodedPhoto, Blip2Error> {
        one(self.encode_batch([image])?)
    }

    /// Encodes many pictures. Each is what the picture alone gives.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode); the first fault fails the batch.
    pub fn encode_batch<'a, P: Into<Picture<'a>>>(
        &self,
        images: impl IntoIterator<Item = P>,
    ) -> Result<Vec<EncodedPhoto>, Blip2Error> {
        let pictures: Vec<_> = images.into_iter().map(Into::into).collect();
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = self.encoded(&pictures)?;
        let embeddings = of_images(&self.projected(&encoded)?)?;
        let [patches, width] = self.patch_shape();
        let values = numbers(encoded.tensor(), "an encoded picture")?;
        let photos = embeddings.into_iter().zip(values.chunks(patches * width));
        Ok(photos
            .map(|(embedding, patches)| EncodedPhoto {
                embedding,
                patches: patches.to_vec(),
            })
            .collect())
    }

    /// The model on tensors.
    pub fn model(&self) -> &Blip2ForImageTextRetrieval {
        &self.model
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &Blip2Config {
        &self.config
    }

    /// The device that holds the model.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What loading found beside the weights that it wanted.
    pub fn load_report(&self) -> &LoadReport {
        &self.report
    }

    /// A hash of everything that decides what a picture and a text become: all weights, their
    /// precision, and the preprocessing. Computed when it is first needed, by reading the weights
    /// once.
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let Blip2Config {
                vision_config,
                qformer_config,
                ..
            } = &self.config;
            let (precision, processor) = (self.precision, self.processor.config());
            let rest = format!("{precision} {vision_config:?} {qformer_config:?} {processor:?}");
            self.checkpoint.fingerprint(&[""], &rest)
        })
    }

    pub(crate) fn processor(&self) -> &ImageProcessor {
        &self.processor
    }

    /// The rows of texts as the model reads them.
    pub(crate) fn rows(&self, texts: &[&str]) -> Result<PromptRows, Blip2Error> {
        self.texts.rows(texts)
    }

    /// Of an encoded picture: how many vectors, and how many numbers in each.
    pub(crate) fn patch_shape(&self) -> [usize; 2] {
        let vision = &self.config.vision_config;
        [vision.num_patches() + 1, vision.hidden_size]
    }

    /// Of an embedded picture: how many vectors, and how many numbers in each.
    pub(crate) fn embedding_shape(&self) -> [usize; 2] {
        [
            self.config.num_query_tokens,
            self.config.image_text_hidden_size,
        ]
    }
}

/// The only result of a batch of one.
fn one<T>(results: Vec<T>) -> Result<T, Blip2Error> {
    results.into_iter().next().ok_or_else(|| Blip2Error::Rows {
        reason: "no result".into(),
    })
}
