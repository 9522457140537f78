//! The forms in which pictures and texts are compared.

use blip2_lm::generate::CancelToken;
use burn::tensor::{Tensor, TensorData};

use super::{CompareOptions, Picture, alone, each::each, stage::go_on};
use crate::{
    embedding::{EncodedPhoto, ImageEmbedding, MatchScore, TextEmbedding, numbers},
    error::Blip2Error,
    load::Load,
    text::PromptRows,
};

/// A member that compares pictures with texts: [`Blip2Retrieval`](crate::Blip2Retrieval) or
/// [`BlipRetrieval`](crate::BlipRetrieval).
pub trait Compares: Load {
    /// Texts as the model reads them.
    #[doc(hidden)]
    fn rows(&self, texts: &[impl AsRef<str>]) -> Result<PromptRows, Blip2Error>;

    /// What the image encoder makes of pictures, `[batch, patches + 1, vision_hidden]`.
    #[doc(hidden)]
    fn see(&self, pictures: &[Picture<'_>], cancel: &CancelToken) -> Result<Tensor<3>, Blip2Error>;

    /// Pictures that were seen, in the space that they share with texts.
    #[doc(hidden)]
    fn project(&self, seen: Tensor<3>) -> Result<Vec<ImageEmbedding>, Blip2Error>;

    /// Texts in the space that they share with pictures.
    #[doc(hidden)]
    fn embed_rows(&self, rows: &PromptRows) -> Result<Vec<TextEmbedding>, Blip2Error>;

    /// How well each text describes its picture.
    #[doc(hidden)]
    fn match_rows(&self, seen: Tensor<3>, rows: &PromptRows)
    -> Result<Vec<MatchScore>, Blip2Error>;

    /// Of a picture that was seen: how many vectors, and how many numbers in each.
    #[doc(hidden)]
    fn patch_shape(&self) -> [usize; 2];
}

/// How many pictures that were encoded before are matched at once.
const PART: usize = 16;

pub(crate) fn match_batch<'a, M: Compares, P: Into<Picture<'a>>, T: AsRef<str>>(
    member: &M,
    pairs: impl IntoIterator<Item = (P, T)>,
    options: &CompareOptions,
) -> Result<Vec<MatchScore>, Blip2Error> {
    let cancel = options.begun()?;
    let (pictures, texts): (Vec<P>, Vec<T>) = pairs.into_iter().unzip();
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    // Texts first: a fault in them is found at once.
    let rows = member.rows(&texts)?;
    let pictures: Vec<Picture<'a>> = pictures.into_iter().map(Into::into).collect();
    let seen = member.see(&pictures, &cancel)?;
    go_on(&cancel)?;
    member.match_rows(seen, &rows)
}

pub(crate) fn match_each<'a, M: Compares, P: Into<Picture<'a>>, T: AsRef<str>>(
    member: &M,
    pairs: impl IntoIterator<Item = (P, T)>,
    options: &CompareOptions,
) -> Vec<Result<MatchScore, Blip2Error>> {
    let options = options.shared();
    let pairs = pairs.into_iter();
    let pairs = pairs.map(|(picture, text)| Ok((picture.into(), text)));
    each(pairs.collect(), |_, pairs: &[(Picture<'a>, T)]| {
        let pairs = pairs.iter().map(|(picture, text)| (*picture, text));
        match_batch(member, pairs, &options)
    })
}

/// A picture and a text, compared in both ways.
///
/// ```
/// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::CompareOptions;
///
/// let pairs = [(&image, "a red triangle"), (&image, "")];
/// let compared = blip2.compare_each(pairs, &CompareOptions::default());
/// let first = compared[0].as_ref().expect("there is a text");
/// println!("{:.2} {:.2}", first.matched.probability, first.similarity);
/// assert!(compared[1].is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// How well they match, by the head that reads both together.
    pub matched: MatchScore,
    /// The cosine, between −1 and 1.
    pub similarity: f32,
    /// The picture in the space that it shares with texts.
    pub embedding: ImageEmbedding,
}

/// Compares pairs in both ways; the image encoder runs once for a picture.
pub(crate) fn compare_each<'a, M: Compares, P: Into<Picture<'a>>, T: AsRef<str>>(
    member: &M,
    pairs: impl IntoIterator<Item = (P, T)>,
    options: &CompareOptions,
) -> Vec<Result<Comparison, Blip2Error>> {
    let options = options.shared();
    let compare = |pairs: &[(Picture<'a>, T)]| -> Result<Vec<Comparison>, Blip2Error> {
        let cancel = options.begun()?;
        let (pictures, texts): (Vec<_>, Vec<_>) =
            pairs.iter().map(|(picture, text)| (*picture, text)).unzip();
        let rows = member.rows(&texts)?;
        let seen = member.see(&pictures, &cancel)?;
        go_on(&cancel)?;
        let embeddings = member.project(seen.clone())?;
        let matched = member.match_rows(seen, &rows)?;
        go_on(&cancel)?;
        let texts = member.embed_rows(&rows)?;
        let compared = embeddings.into_iter().zip(matched).zip(&texts);
        compared
            .map(|((embedding, matched), text)| {
                Ok(Comparison {
                    similarity: embedding.similarity(text)?,
                    matched,
                    embedding,
                })
            })
            .collect()
    };
    let pairs = pairs.into_iter();
    let pairs = pairs.map(|(picture, text)| Ok((picture.into(), text)));
    each(pairs.collect(), |_, pairs: &[(Picture<'a>, T)]| compare(pairs))
}

pub(crate) fn similarity_batch<'a, M: Compares, P: Into<Picture<'a>>, T: AsRef<str>>(
    member: &M,
    pairs: impl IntoIterator<Item = (P, T)>,
    options: &CompareOptions,
) -> Result<Vec<f32>, Blip2Error> {
    let options = options.shared();
    let (pictures, texts): (Vec<P>, Vec<T>) = pairs.into_iter().unzip();
    let texts = embed_text_batch(member, texts, &options)?;
    let images = embed_image_batch(member, pictures, &options)?;
    let pairs = images.iter().zip(&texts);
    pairs.map(|(image, text)| image.similarity(text)).collect()
}

pub(crate) fn embed_image_batch<'a, M: Compares, P: Into<Picture<'a>>>(
    member: &M,
    images: impl IntoIterator<Item = P>,
    options: &CompareOptions,
) -> Result<Vec<ImageEmbedding>, Blip2Error> {
    let cancel = options.begun()?;
    let pictures: Vec<Picture<'a>> = images.into_iter().map(Into::into).collect();
    if pictures.is_empty() {
        return Ok(Vec::new());
    }
    let seen = member.see(&pictures, &cancel)?;
    go_on(&cancel)?;
    member.project(seen)
}

pub(crate) fn embed_text_batch<M: Compares, T: AsRef<str>>(
    member: &M,
    texts: impl IntoIterator<Item = T>,
    options: &CompareOptions,
) -> Result<Vec<TextEmbedding>, Blip2Error> {
    let cancel = options.begun()?;
    let texts: Vec<T> = texts.into_iter().collect();
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let _span = tracing::info_span!("stage", name = "text").entered();
    let rows = member.rows(&texts)?;
    go_on(&cancel)?;
    member.embed_rows(&rows)
}

pub(crate) fn encode_batch<'a, M: Compares, P: Into<Picture<'a>>>(
    member: &M,
    images: impl IntoIterator<Item = P>,
    options: &CompareOptions,
) -> Result<Vec<EncodedPhoto>, Blip2Error> {
    let cancel = options.begun()?;
    let pictures: Vec<Picture<'a>> = images.into_iter().map(Into::into).collect();
    if pictures.is_empty() {
        return Ok(Vec::new());
    }
    let seen = member.see(&pictures, &cancel)?;
    go_on(&cancel)?;
    let embeddings = member.project(seen.clone())?;
    let [patches, width] = member.patch_shape();
    let values = numbers(seen, "an encoded picture")?;
    let photos = embeddings.into_iter().zip(values.chunks(patches * width));
    Ok(photos
        .map(|(embedding, patches)| EncodedPhoto {
            embedding,
            patches: patches.to_vec(),
        })
        .collect())
}

/// A batch of pictures with a result for each.
pub(crate) fn each_image<'a, P: Into<Picture<'a>>, R>(
    images: impl IntoIterator<Item = P>,
    options: &CompareOptions,
    batch: impl Fn(Vec<Picture<'a>>, &CompareOptions) -> Result<Vec<R>, Blip2Error>,
) -> Vec<Result<R, Blip2Error>> {
    let options = options.shared();
    let pictures = images.into_iter().map(|image| Ok(image.into()));
    each(pictures.collect(), |_, pictures: &[Picture<'a>]| {
        batch(pictures.to_vec(), &options)
    })
}

/// A batch of texts with a result for each.
pub(crate) fn each_text<T: AsRef<str>, R>(
    texts: impl IntoIterator<Item = T>,
    options: &CompareOptions,
    batch: impl Fn(Vec<&str>, &CompareOptions) -> Result<Vec<R>, Blip2Error>,
) -> Vec<Result<R, Blip2Error>> {
    let options = options.shared();
    each(texts.into_iter().map(Ok).collect(), |_, texts: &[T]| {
        batch(texts.iter().map(AsRef::as_ref).collect(), &options)
    })
}

/// How well one text describes pictures that were encoded before, off the device.
pub(crate) fn match_patches<'p, M: Compares>(
    member: &M,
    photos: impl IntoIterator<Item = &'p [f32]>,
    text: &str,
    options: &CompareOptions,
) -> Result<Vec<MatchScore>, Blip2Error> {
    let cancel = options.begun()?;
    let row = member.rows(&[text]).map_err(Blip2Error::of_item)?;
    let [patches, width] = member.patch_shape();
    let mut scores = Vec::new();
    let photos: Vec<_> = photos.into_iter().collect();
    // In parts, so that a long list does not need as much memory.
    for part in photos.chunks(PART) {
        go_on(&cancel)?;
        let other = part.iter().find(|photo| photo.len() != patches * width);
        if let Some(photo) = other {
            let (image, other) = (photo.len(), patches * width);
            return Err(Blip2Error::Incomparable { image, other });
        }
        let data = TensorData::new(part.concat(), [part.len(), patches, width]);
        let seen = Tensor::from_data(data, &member.loaded().device);
        scores.extend(member.match_rows(seen, &row.repeated(part.len())?)?);
    }
    Ok(scores)
}

pub(crate) fn similarity_encoded<'p, M: Compares>(
    member: &M,
    photos: impl IntoIterator<Item = &'p EncodedPhoto>,
    text: &str,
) -> Result<Vec<f32>, Blip2Error> {
    let text = alone(embed_text_batch(member, [text], &CompareOptions::default()))?;
    let photos = photos.into_iter();
    photos
        .map(|photo| photo.embedding.similarity(&text))
        .collect()
}

/// Gives a member that compares pictures with texts its verbs.
macro_rules! comparing {
    ($member:ident, $folder:literal) => {
        impl $member {
            /// The probability that a text describes a picture, between 0 and 1: the matching
            /// head's, which reads both together.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// let sure = blip.match_probability(&image, "a red triangle")?;
            /// assert!((0.0..=1.0).contains(&sure));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// For an empty text, one that spells out a special token or has more tokens than the
            /// model has positions, and whatever goes wrong with the picture.
            pub fn match_probability<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                text: &str,
            ) -> Result<f32, crate::error::Blip2Error> {
                self.match_probability_with(image, text, &crate::verbs::CompareOptions::default())
            }

            /// [`match_probability`](Self::match_probability) with options.
            ///
            /// # Errors
            ///
            /// As [`match_probability`](Self::match_probability), and where the options stop it.
            pub fn match_probability_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                text: &str,
                options: &crate::verbs::CompareOptions,
            ) -> Result<f32, crate::error::Blip2Error> {
                let scores = self.match_batch([(image, text)], options);
                Ok(crate::verbs::alone(scores)?.probability)
            }

            /// How well each text describes its picture. Each score is what the pair alone gets.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::CompareOptions;
            ///
            /// let pairs = ["a triangle", "a circle"].map(|text| (&image, text));
            /// let scores = blip.match_batch(pairs, &CompareOptions::default())?;
            /// assert_eq!(scores.len(), 2);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`match_probability_with`](Self::match_probability_with); the first fault fails the
            /// batch, and [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn match_batch<'a, P: Into<crate::picture::Picture<'a>>, T: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, T)>,
                options: &crate::verbs::CompareOptions,
            ) -> Result<Vec<crate::embedding::MatchScore>, crate::error::Blip2Error> {
                crate::verbs::comparing::match_batch(self, pairs, options)
            }

            /// [`match_batch`](Self::match_batch) with a result for each pair: what is at fault is
            /// left out of the batch, and the others are matched.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::CompareOptions;
            ///
            /// let pairs = [(&image, "a triangle"), (&image, "")];
            /// let scores = blip.match_each(pairs, &CompareOptions::default());
            /// assert!(scores[0].is_ok() && scores[1].is_err());
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn match_each<'a, P: Into<crate::picture::Picture<'a>>, T: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, T)>,
                options: &crate::verbs::CompareOptions,
            ) -> Vec<Result<crate::embedding::MatchScore, crate::error::Blip2Error>> {
                crate::verbs::comparing::match_each(self, pairs, options)
            }

            /// Compares pairs in both ways, with a result for each: what
            /// [`match_each`](Self::match_each) and [`similarity`](Self::similarity) give, and the
            /// picture's embedding, while the image encoder runs once.
            pub fn compare_each<'a, P: Into<crate::picture::Picture<'a>>, T: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, T)>,
                options: &crate::verbs::CompareOptions,
            ) -> Vec<Result<crate::verbs::Comparison, crate::error::Blip2Error>> {
                crate::verbs::comparing::compare_each(self, pairs, options)
            }

            /// How well one text describes pictures that were encoded before.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// let photo = blip.encode(&image)?; // once …
            /// for text in ["a triangle", "a circle"] {
            ///     println!("{:.2}", blip.match_encoded([&photo], text)?[0].probability); // … for many texts
            /// }
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`match_probability`](Self::match_probability), and if a model of another size
            /// encoded a picture.
            pub fn match_encoded<'p>(
                &self,
                photos: impl IntoIterator<Item = &'p crate::embedding::EncodedPhoto>,
                text: &str,
            ) -> Result<Vec<crate::embedding::MatchScore>, crate::error::Blip2Error> {
                let options = crate::verbs::CompareOptions::default();
                self.match_encoded_with(photos, text, &options)
            }

            /// [`match_encoded`](Self::match_encoded) with options.
            ///
            /// # Errors
            ///
            /// As [`match_encoded`](Self::match_encoded), and where the options stop it.
            pub fn match_encoded_with<'p>(
                &self,
                photos: impl IntoIterator<Item = &'p crate::embedding::EncodedPhoto>,
                text: &str,
                options: &crate::verbs::CompareOptions,
            ) -> Result<Vec<crate::embedding::MatchScore>, crate::error::Blip2Error> {
                let patches = photos.into_iter().map(|photo| photo.patches.as_slice());
                crate::verbs::comparing::match_patches(self, patches, text, options)
            }

            /// How similar a picture and a text are, between −1 and 1: the largest cosine of the
            /// picture's vectors with the text's.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// let cosine = blip.similarity(&image, "a red triangle")?;
            /// assert!((-1.001..=1.001).contains(&cosine));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`match_probability`](Self::match_probability).
            pub fn similarity<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                text: &str,
            ) -> Result<f32, crate::error::Blip2Error> {
                self.similarity_with(image, text, &crate::verbs::CompareOptions::default())
            }

            /// [`similarity`](Self::similarity) with options.
            ///
            /// # Errors
            ///
            /// As [`similarity`](Self::similarity), and where the options stop it.
            pub fn similarity_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                text: &str,
                options: &crate::verbs::CompareOptions,
            ) -> Result<f32, crate::error::Blip2Error> {
                crate::verbs::alone(self.similarity_batch([(image, text)], options))
            }

            /// How similar each picture and its text are. Each number is what the pair alone gets.
            ///
            /// # Errors
            ///
            /// As [`match_batch`](Self::match_batch).
            pub fn similarity_batch<'a, P: Into<crate::picture::Picture<'a>>, T: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, T)>,
                options: &crate::verbs::CompareOptions,
            ) -> Result<Vec<f32>, crate::error::Blip2Error> {
                crate::verbs::comparing::similarity_batch(self, pairs, options)
            }

            /// How similar one text is to pictures that were encoded before.
            ///
            /// # Errors
            ///
            /// As [`similarity`](Self::similarity), and if a model of another size encoded a
            /// picture.
            pub fn similarity_encoded<'p>(
                &self,
                photos: impl IntoIterator<Item = &'p crate::embedding::EncodedPhoto>,
                text: &str,
            ) -> Result<Vec<f32>, crate::error::Blip2Error> {
                crate::verbs::comparing::similarity_encoded(self, photos, text)
            }

            /// Encodes a picture once for everything that retrieval does with it.
            ///
            /// # Errors
            ///
            /// Whatever goes wrong with the picture.
            pub fn encode<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
            ) -> Result<crate::embedding::EncodedPhoto, crate::error::Blip2Error> {
                self.encode_with(image, &crate::verbs::CompareOptions::default())
            }

            /// [`encode`](Self::encode) with options.
            ///
            /// # Errors
            ///
            /// As [`encode`](Self::encode), and where the options stop it.
            pub fn encode_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                options: &crate::verbs::CompareOptions,
            ) -> Result<crate::embedding::EncodedPhoto, crate::error::Blip2Error> {
                crate::verbs::alone(self.encode_batch([image], options))
            }

            /// Encodes many pictures. Each is what the picture alone gives.
            ///
            /// # Errors
            ///
            /// As [`encode_with`](Self::encode_with); the first fault fails the batch, and
            /// [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn encode_batch<'a, P: Into<crate::picture::Picture<'a>>>(
                &self,
                images: impl IntoIterator<Item = P>,
                options: &crate::verbs::CompareOptions,
            ) -> Result<Vec<crate::embedding::EncodedPhoto>, crate::error::Blip2Error> {
                crate::verbs::comparing::encode_batch(self, images, options)
            }

            /// [`encode_batch`](Self::encode_batch) with a result for each picture: what is at fault
            /// is left out of the batch, and the others are encoded.
            pub fn encode_each<'a, P: Into<crate::picture::Picture<'a>>>(
                &self,
                images: impl IntoIterator<Item = P>,
                options: &crate::verbs::CompareOptions,
            ) -> Vec<Result<crate::embedding::EncodedPhoto, crate::error::Blip2Error>> {
                crate::verbs::comparing::each_image(images, options, |images, options| {
                    self.encode_batch(images, options)
                })
            }
        }
    };
}
pub(crate) use comparing;

/// Gives a member that embeds pictures its verbs; `batch` embeds many.
macro_rules! embedding_images {
    ($member:ident, $batch:path) => {
        impl $member {
            /// A picture in the space that it shares with texts.
            ///
            /// # Errors
            ///
            /// Whatever goes wrong with the picture.
            pub fn embed_image<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
            ) -> Result<crate::embedding::ImageEmbedding, crate::error::Blip2Error> {
                self.embed_image_with(image, &crate::verbs::CompareOptions::default())
            }

            /// [`embed_image`](Self::embed_image) with options.
            ///
            /// # Errors
            ///
            /// As [`embed_image`](Self::embed_image), and where the options stop it.
            pub fn embed_image_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                options: &crate::verbs::CompareOptions,
            ) -> Result<crate::embedding::ImageEmbedding, crate::error::Blip2Error> {
                crate::verbs::alone(self.embed_image_batch([image], options))
            }

            /// Many pictures in the space that they share with texts. Each is what the picture alone
            /// gives.
            ///
            /// # Errors
            ///
            /// As [`embed_image_with`](Self::embed_image_with); the first fault fails the batch, and
            /// [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn embed_image_batch<'a, P: Into<crate::picture::Picture<'a>>>(
                &self,
                images: impl IntoIterator<Item = P>,
                options: &crate::verbs::CompareOptions,
            ) -> Result<Vec<crate::embedding::ImageEmbedding>, crate::error::Blip2Error> {
                $batch(self, images, options)
            }

            /// [`embed_image_batch`](Self::embed_image_batch) with a result for each picture: what is at
            /// fault is left out of the batch, and the others are embedded.
            pub fn embed_image_each<'a, P: Into<crate::picture::Picture<'a>>>(
                &self,
                images: impl IntoIterator<Item = P>,
                options: &crate::verbs::CompareOptions,
            ) -> Vec<Result<crate::embedding::ImageEmbedding, crate::error::Blip2Error>> {
                crate::verbs::comparing::each_image(images, options, |images, options| {
                    self.embed_image_batch(images, options)
                })
            }
        }
    };
}
pub(crate) use embedding_images;

/// Gives a member that embeds texts its verbs; `batch` embeds many.
macro_rules! embedding_texts {
    ($member:ident, $batch:path) => {
        impl $member {
            /// A text in the space that it shares with pictures.
            ///
            /// # Errors
            ///
            /// For an empty text, one that spells out a special token or has more tokens than the
            /// model has positions.
            pub fn embed_text(
                &self,
                text: &str,
            ) -> Result<crate::embedding::TextEmbedding, crate::error::Blip2Error> {
                self.embed_text_with(text, &crate::verbs::CompareOptions::default())
            }

            /// [`embed_text`](Self::embed_text) with options.
            ///
            /// # Errors
            ///
            /// As [`embed_text`](Self::embed_text), and where the options stop it.
            pub fn embed_text_with(
                &self,
                text: &str,
                options: &crate::verbs::CompareOptions,
            ) -> Result<crate::embedding::TextEmbedding, crate::error::Blip2Error> {
                crate::verbs::alone(self.embed_text_batch([text], options))
            }

            /// Many texts in the space that they share with pictures. Each is what the text alone
            /// gives.
            ///
            /// # Errors
            ///
            /// As [`embed_text_with`](Self::embed_text_with); the first fault fails the batch, and
            /// [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn embed_text_batch<T: AsRef<str>>(
                &self,
                texts: impl IntoIterator<Item = T>,
                options: &crate::verbs::CompareOptions,
            ) -> Result<Vec<crate::embedding::TextEmbedding>, crate::error::Blip2Error> {
                $batch(self, texts, options)
            }

            /// [`embed_text_batch`](Self::embed_text_batch) with a result for each text: what is at
            /// fault is left out of the batch, and the others are embedded.
            pub fn embed_text_each<T: AsRef<str>>(
                &self,
                texts: impl IntoIterator<Item = T>,
                options: &crate::verbs::CompareOptions,
            ) -> Vec<Result<crate::embedding::TextEmbedding, crate::error::Blip2Error>> {
                crate::verbs::comparing::each_text(texts, options, |texts, options| {
                    self.embed_text_batch(texts, options)
                })
            }
        }
    };
}
pub(crate) use embedding_texts;
