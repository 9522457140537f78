//! Searching: recall by similarity, then ranking by both scores.

use blip2_kernels::setters;
use serde::{Deserialize, Serialize};

use super::{Entry, IndexError, PhotoIndex, entry::floats};
use crate::{
    embedding::ImageEmbedding,
    error::Blip2Error,
    picture::Picture,
    retrieval::Blip2Retrieval,
    verbs::{CompareOptions, Stop, stopping},
};

/// A picture that was found.
///
/// ```
/// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let mut index = blip2_core::PhotoIndex::new(&blip2);
/// # for name in ["red-triangle.png", "blue-circle.png"] {
/// #     index.add(&blip2, name, &blip2.open(format!("../examples/images/{name}"))?)?;
/// # }
/// use blip2_core::photo_index::SearchOptions;
///
/// // Of two pictures the more similar one is matched with the text, too.
/// let hits = index.search(&blip2, "a triangle", &SearchOptions::default().with_rerank(1))?;
/// assert_eq!(hits.iter().filter(|hit| hit.probability.is_some()).count(), 1);
/// for hit in &hits {
///     println!("{:.2} {}", hit.score, hit.name);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hit {
    /// Its name.
    pub name: String,
    /// What it was ranked by: the similarity, and if it was matched the logit as well.
    pub score: f32,
    /// The cosine, between −1 and 1.
    pub similarity: f32,
    /// The probability that it matches the text, if it was among those that were matched.
    pub probability: Option<f32>,
}

/// How to search.
///
/// ```
/// use std::time::Duration;
///
/// use blip2_core::photo_index::SearchOptions;
///
/// // The five likeliest of the fifty most similar, in two seconds or not at all.
/// let options = SearchOptions::default()
///     .with_limit(5)
///     .with_rerank(50)
///     .with_timeout(Duration::from_secs(2));
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SearchOptions {
    /// How many pictures to return at most. Default 10.
    pub limit: usize,
    /// How many of the most similar pictures are matched with the text; 0 ranks by similarity
    /// alone. Default 128, as in the paper.
    pub rerank: usize,
    stop: Stop,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            limit: 10,
            rerank: 128,
            stop: Stop::default(),
        }
    }
}

setters! { SearchOptions {
    with_limit(limit: usize),
    with_rerank(rerank: usize),
} }

stopping!(
    SearchOptions,
    "It is looked at before the text is read, and before each part of the pictures that are matched; \
     the search then fails with [`Cancelled`](crate::Blip2Error::Cancelled) or, at a deadline, with \
     [`Deadline`](crate::Blip2Error::Deadline), within [`IndexError::Model`].",
    ""
);

impl PhotoIndex {
    /// The pictures that a text describes best, the best first.
    ///
    /// # Errors
    ///
    /// [`IndexError::ForeignWeights`], [`IndexError::Damaged`] if the encoding of a picture is not
    /// what was written, where the options stop it, and whatever goes wrong with the text.
    pub fn search(
        &self,
        blip2: &Blip2Retrieval,
        text: &str,
        options: &SearchOptions,
    ) -> Result<Vec<Hit>, IndexError> {
        self.check(blip2)?;
        let compare = CompareOptions::until(options.stop.begun());
        let query = blip2.embed_text_with(text, &compare)?;
        let recalled = self.recall(|image| image.similarity(&query))?;
        let (mut ranked, mut rest, mut encodings) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, similarity) in recalled {
            match &entry.encoding {
                Some(encoding) if ranked.len() < options.rerank => {
                    encodings.push(entry.patches(encoding)?);
                    ranked.push((entry, similarity));
                }
                _ => rest.push((entry, similarity)),
            }
        }
        let matches = blip2.match_patches(encodings.iter().map(Vec::as_slice), text, &compare)?;
        let mut hits: Vec<Hit> = ranked
            .into_iter()
            .zip(matches)
            .map(|((entry, similarity), matched)| Hit {
                name: entry.name.clone(),
                score: similarity + matched.logit,
                similarity,
                probability: Some(matched.probability),
            })
            .collect();
        // Stable, and recalled in the order of similarity: equal scores stay so.
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        hits.extend(rest.into_iter().map(similar));
        hits.truncate(options.limit);
        Ok(hits)
    }

    /// The pictures that are most [alike](ImageEmbedding::alike) to a picture, the most alike
    /// first.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
    /// # let mut index = blip2_core::PhotoIndex::new(&blip2);
    /// let red = blip2.open("../examples/images/red-triangle.png")?;
    /// index.add(&blip2, "red", &red)?;
    /// index.add(&blip2, "blue", &blip2.open("../examples/images/blue-circle.png")?)?;
    /// let hits = index.search_by_picture(&blip2, &red, 1)?;
    /// assert_eq!(hits[0].name, "red"); // a picture is most alike to itself
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IndexError::ForeignWeights`], and whatever goes wrong with the picture.
    pub fn search_by_picture<'a>(
        &self,
        blip2: &Blip2Retrieval,
        image: impl Into<Picture<'a>>,
        limit: usize,
    ) -> Result<Vec<Hit>, IndexError> {
        self.check(blip2)?;
        let query = blip2.embed_image(image)?;
        let ranked = self.recall(|image| image.alike(&query))?;
        Ok(ranked.into_iter().take(limit).map(similar).collect())
    }

    /// All pictures with their similarity, the most similar first.
    fn recall(
        &self,
        similarity: impl Fn(&ImageEmbedding) -> Result<f32, Blip2Error>,
    ) -> Result<Vec<(&Entry, f32)>, IndexError> {
        let [_, dim] = self.shape.embedding;
        let mut ranked = Vec::with_capacity(self.len());
        for entry in &self.entries {
            let image = ImageEmbedding::new(dim, floats(&entry.embedding));
            ranked.push((entry, similarity(&image)?));
        }
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        Ok(ranked)
    }
}

/// A picture that was found by similarity alone.
fn similar((entry, similarity): (&Entry, f32)) -> Hit {
    Hit {
        name: entry.name.clone(),
        score: similarity,
        similarity,
        probability: None,
    }
}
