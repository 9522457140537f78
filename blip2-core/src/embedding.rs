//! What retrieval makes of pictures and texts, off the device.

use std::fmt;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    error::Blip2Error,
    model::{ProjectedImages, ProjectedTexts},
};

/// A picture in the space that it shares with texts: one vector of length 1 for each query of the
/// model.
///
/// It travels by serde, and can be rebuilt [from its numbers](Self::from_values).
///
/// ```
/// use blip2_core::{ImageEmbedding, TextEmbedding};
///
/// let image = ImageEmbedding::from_values(2, vec![1.0, 0.0, 0.6, 0.8])?;
/// let text = TextEmbedding::from_values(vec![0.0, 1.0])?;
/// assert_eq!(image.similarity(&text)?, 0.8);
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Numbers", into = "Numbers")]
pub struct ImageEmbedding {
    dim: usize,
    values: Vec<f32>,
}

/// A text in the space that it shares with pictures: one vector of length 1.
///
/// It travels by serde, and can be rebuilt [from its numbers](Self::from_values).
///
/// ```
/// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let (dog, cat) = (blip2.embed_text("a dog")?, blip2.embed_text("a cat")?);
/// let image = blip2.embed_image(&image)?;
/// println!("{:.2} {:.2}", image.similarity(&dog)?, image.similarity(&cat)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f32>", into = "Vec<f32>")]
pub struct TextEmbedding {
    values: Vec<f32>,
}

/// A picture as retrieval needs it, encoded once: embedded, to be compared with many, and as the
/// image encoder sees it, to be matched more closely with few.
///
/// ```
/// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let photo = blip2.encode(&image)?; // once, for both ways of comparing
/// let scores = blip2.match_encoded([&photo], "a red triangle")?;
/// let similar = blip2.similarity_encoded([&photo], "a red triangle")?;
/// assert!(scores[0].probability <= 1.0 && similar[0] <= 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct EncodedPhoto {
    /// In the space that it shares with texts.
    pub embedding: ImageEmbedding,
    pub(crate) patches: Vec<f32>,
}

/// How well a picture and a text match, by the head that reads both together (ITM).
///
/// ```
/// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::CompareOptions;
///
/// let pairs = ["a dog", "a red triangle"].map(|text| (&image, text));
/// let scores = blip2.match_batch(pairs, &CompareOptions::default())?;
/// for (score, (_, text)) in scores.iter().zip(pairs) {
///     println!("{text}: {:.0} %", 100.0 * score.probability);
///     assert!((0.0..=1.0).contains(&score.probability));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MatchScore {
    /// The probability that they match, between 0 and 1.
    pub probability: f32,
    /// The logit of "match", which the paper adds to the similarity when it ranks.
    pub logit: f32,
}

impl ImageEmbedding {
    pub(crate) fn new(dim: usize, values: Vec<f32>) -> Self {
        Self { dim, values }
    }

    /// An embedding of `values`, the vectors of `dim` numbers one after the other: what
    /// [`vectors`](Self::vectors) gave, as it was kept elsewhere.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Embedding`] for numbers that are no vectors of this width and of length 1.
    pub fn from_values(dim: usize, values: Vec<f32>) -> Result<Self, Blip2Error> {
        check_vectors(dim, &values)?;
        Ok(Self::new(dim, values))
    }

    /// How many numbers each vector has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vectors, one for each query.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// How similar the picture is to a text: the largest cosine of a query with the text, between
    /// −1 and 1.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Incomparable`] if models of different widths made them.
    pub fn similarity(&self, text: &TextEmbedding) -> Result<f32, Blip2Error> {
        self.check(text.values.len())?;
        Ok(self
            .vectors()
            .map(|vector| dot(vector, &text.values))
            .fold(f32::NEG_INFINITY, f32::max))
    }

    /// How alike two pictures are, between −1 and 1: the mean cosine of each query with the same
    /// query of the other, since a query looks for the same kind of thing in every picture. A
    /// picture is alike to itself by 1. The paper compares no pictures; this is our choice.
    ///
    /// # Errors
    ///
    /// As [`similarity`](Self::similarity).
    pub fn alike(&self, other: &Self) -> Result<f32, Blip2Error> {
        self.check(other.dim)?;
        if self.values.len() != other.values.len() {
            let (image, other) = (self.values.len(), other.values.len());
            return Err(Blip2Error::Incomparable { image, other });
        }
        let queries = (self.values.len() / self.dim) as f32;
        Ok(dot(&self.values, &other.values) / queries)
    }

    fn check(&self, other: usize) -> Result<(), Blip2Error> {
        let image = self.dim;
        if image == other {
            Ok(())
        } else {
            Err(Blip2Error::Incomparable { image, other })
        }
    }

    /// All numbers, the vectors one after the other.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl TextEmbedding {
    /// Of texts in the space that they share with pictures, `[batch, dim]`.
    pub(crate) fn of(projected: Tensor<2>) -> Result<Vec<Self>, Blip2Error> {
        let [_, dim] = projected.dims();
        let values = numbers(projected, "a text's embedding")?;
        let vectors = values.chunks_exact(dim.max(1)).map(<[f32]>::to_vec);
        Ok(vectors.map(|values| Self { values }).collect())
    }

    /// An embedding of a vector's numbers: what [`vector`](Self::vector) gave, as it was kept
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Embedding`] for numbers that are no vector of length 1.
    pub fn from_values(values: Vec<f32>) -> Result<Self, Blip2Error> {
        check_vectors(values.len(), &values)?;
        Ok(Self { values })
    }

    /// The vector.
    pub fn vector(&self) -> &[f32] {
        &self.values
    }
}

impl EncodedPhoto {
    /// How many bytes its numbers take.
    pub fn size_in_bytes(&self) -> usize {
        (self.embedding.values.len() + self.patches.len()) * size_of::<f32>()
    }
}

impl MatchScore {
    /// From the logits of "no match" and "match".
    pub(crate) fn new([no, yes]: [f32; 2]) -> Self {
        Self {
            probability: (1.0 / (1.0 + f64::from(no - yes).exp())) as f32,
            logit: yes,
        }
    }
}

/// How far from 1 the length of a vector may be that was kept in 16 bits.
const LENGTH_TOLERANCE: f32 = 1e-2;

/// Refuses what are no vectors of `dim` numbers, each of length 1.
fn check_vectors(dim: usize, values: &[f32]) -> Result<(), Blip2Error> {
    let fault = |reason| Err(Blip2Error::Embedding { reason });
    if dim == 0 || values.is_empty() || !values.len().is_multiple_of(dim) {
        return fault(format!("{} numbers are no vectors of {dim}", values.len()));
    }
    for (index, vector) in values.chunks_exact(dim).enumerate() {
        let length = dot(vector, vector).sqrt();
        let off = (length - 1.0).abs();
        if off.is_nan() || off > LENGTH_TOLERANCE {
            return fault(format!(
                "vector {index} has the length {length} in place of 1"
            ));
        }
    }
    Ok(())
}

/// An embedded picture as it travels.
#[derive(Serialize, Deserialize)]
struct Numbers {
    dim: usize,
    values: Vec<f32>,
}

impl TryFrom<Numbers> for ImageEmbedding {
    type Error = Blip2Error;

    fn try_from(numbers: Numbers) -> Result<Self, Blip2Error> {
        Self::from_values(numbers.dim, numbers.values)
    }
}

impl From<ImageEmbedding> for Numbers {
    fn from(embedding: ImageEmbedding) -> Self {
        let ImageEmbedding { dim, values } = embedding;
        Self { dim, values }
    }
}

impl TryFrom<Vec<f32>> for TextEmbedding {
    type Error = Blip2Error;

    fn try_from(values: Vec<f32>) -> Result<Self, Blip2Error> {
        Self::from_values(values)
    }
}

impl From<TextEmbedding> for Vec<f32> {
    fn from(embedding: TextEmbedding) -> Self {
        embedding.values
    }
}

// How many numbers there are, and not the thousands that they are.

impl fmt::Debug for ImageEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vectors = self.vectors().len();
        let mut shown = f.debug_struct("ImageEmbedding");
        shown.field("vectors", &vectors).field("dim", &self.dim);
        shown.finish_non_exhaustive()
    }
}

impl fmt::Debug for TextEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TextEmbedding");
        shown
            .field("dim", &self.values.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EncodedPhoto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("EncodedPhoto");
        shown.field("embedding", &self.embedding);
        shown.field("numbers", &self.patches.len()).finish()
    }
}

/// The inner product, in eight sums side by side, which a processor adds at once.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.into_iter().chain(rest).sum()
}

/// Embedded pictures, off the device.
pub(crate) fn of_images(images: &ProjectedImages) -> Result<Vec<ImageEmbedding>, Blip2Error> {
    let projected = images.tensor();
    let [_, queries, dim] = projected.dims();
    let values = numbers(projected, "a picture's embedding")?;
    let photos = values.chunks_exact(queries * dim);
    Ok(photos
        .map(|values| ImageEmbedding::new(dim, values.to_vec()))
        .collect())
}

/// Embedded texts, off the device.
pub(crate) fn of_texts(texts: &ProjectedTexts) -> Result<Vec<TextEmbedding>, Blip2Error> {
    TextEmbedding::of(texts.tensor())
}

/// The numbers of a tensor, all of them finite.
pub(crate) fn numbers<const D: usize>(
    tensor: Tensor<D>,
    what: &'static str,
) -> Result<Vec<f32>, Blip2Error> {
    let values =
        tensor
            .into_data()
            .try_into_vec::<f32>()
            .map_err(|error| Blip2Error::Unreadable {
                what,
                reason: format!("{error:?}"),
            })?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(Blip2Error::NotFinite { what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_query_decides_between_picture_and_text() {
        let image = ImageEmbedding::new(2, vec![1.0, 0.0, 0.6, 0.8]);
        let text = TextEmbedding {
            values: vec![0.0, 1.0],
        };
        assert_eq!(image.similarity(&text).unwrap(), 0.8);
        let other = ImageEmbedding::new(2, vec![0.0, 1.0, 0.6, 0.8]);
        assert_eq!(image.alike(&image).unwrap(), 1.0);
        assert_eq!(image.alike(&other).unwrap(), 0.5);
    }

    #[test]
    fn embeddings_of_other_models_are_told_apart() {
        let image = ImageEmbedding::new(2, vec![1.0, 0.0]);
        let text = TextEmbedding {
            values: vec![1.0, 0.0, 0.0],
        };
        let error = image.similarity(&text).unwrap_err().to_string();
        assert!(error.contains('2') && error.contains('3'), "{error}");
        let more = ImageEmbedding::new(2, vec![1.0, 0.0, 0.0, 1.0]);
        assert!(image.alike(&more).is_err());
    }

    #[test]
    fn logits_become_the_probability_of_a_match() {
        let score = MatchScore::new([0.0, 3f32.ln()]);
        assert!((score.probability - 0.75).abs() < 1e-6);
        assert_eq!(MatchScore::new([1e6, -1e6]).probability, 0.0);
        assert_eq!(MatchScore::new([-1e6, 1e6]).probability, 1.0);
    }
}
