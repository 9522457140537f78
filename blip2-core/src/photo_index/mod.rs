//! Pictures that can be searched by a text or by another picture.
//!
//! ```no_run
//! use blip2_core::{Blip2Retrieval, PhotoIndex, photo_index::SearchOptions};
//!
//! let blip2 = Blip2Retrieval::from_pretrained("models/blip2-itm-vit-g")?;
//! let mut index = PhotoIndex::new(&blip2);
//! for name in ["beach.jpg", "city.jpg"] {
//!     index.add(&blip2, name, &blip2.open(name)?)?;
//! }
//! for hit in index.search(&blip2, "a dog on the beach", &SearchOptions::default())? {
//!     println!("{:.2} {}", hit.score, hit.name);
//! }
//! index.save("photos.idx")?;
//!
//! let index = PhotoIndex::open("photos.idx")?; // mapped, not read
//! # let _ = index;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it ranks
//!
//! As the paper does (Li et al., 2023, section 4.4): all pictures are compared with the text by
//! [similarity](crate::ImageEmbedding::similarity), and the best few are
//! [matched](crate::Blip2Retrieval::match_encoded) with it; of those the score is the sum of both,
//! the cosine and the logit of "match". Nothing is approximated: the first step looks at every
//! picture. Where scores are equal, the picture that was added first comes first.
//!
//! # Size
//!
//! A picture takes its embedding (32 × 256 numbers in the published model, 33 kB) and its encoding
//! (257 × 1408, 1.4 MB), without which it could not be matched again. A file is mapped into memory:
//! a search reads all embeddings and the encodings of the few that it matches.

mod error;
mod format;

use std::path::Path;

use bytes::Bytes;

pub use error::IndexError;
use format::{Content, Shape};

use crate::{Blip2Retrieval, EncodedPhoto, ImageEmbedding, Picture};

/// Pictures by name, each embedded and encoded by one model, in the order in which they were added.
#[derive(Debug, Clone)]
pub struct PhotoIndex {
    fingerprint: String,
    shape: Shape,
    entries: Vec<Entry>,
}

/// A picture. Its numbers are little-endian `f32`, views into a mapped file or bytes of their own.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    embedding: Bytes,
    encoding: Bytes,
    /// Of the encoding.
    hash: u64,
}

/// A picture that was found.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchOptions {
    /// How many pictures to return at most. Default 10.
    pub limit: usize,
    /// How many of the most similar pictures are matched with the text; 0 ranks by similarity
    /// alone. Default 128, as in the paper.
    pub rerank: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            limit: 10,
            rerank: 128,
        }
    }
}

impl SearchOptions {
    /// Returns at most so many pictures.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Matches so many of the most similar pictures with the text.
    #[must_use]
    pub fn rerank(mut self, rerank: usize) -> Self {
        self.rerank = rerank;
        self
    }
}

impl PhotoIndex {
    /// An empty index for pictures of this model.
    pub fn new(blip2: &Blip2Retrieval) -> Self {
        Self {
            fingerprint: blip2.fingerprint().to_string(),
            shape: Shape {
                embedding: blip2.embedding_shape(),
                encoding: blip2.patch_shape(),
            },
            entries: Vec::new(),
        }
    }

    /// Opens an index that was [saved](Self::save). The file is mapped into memory; the embeddings
    /// are read once, to check them, and the encodings when they are needed.
    ///
    /// # Errors
    ///
    /// [`IndexError`] for a file that is none, of another version, cut short, or damaged. That
    /// another model made it is found by the first call that is given a model, or by
    /// [`check`](Self::check).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IndexError> {
        let path = path.as_ref();
        let content = format::read(path, &blip2_io::map_file(path)?)?;
        Ok(Self {
            fingerprint: content.fingerprint,
            shape: content.shape,
            entries: content.entries,
        })
    }

    /// Saves the index; one that is there already is replaced when the new one is whole.
    ///
    /// # Errors
    ///
    /// [`IndexError::Write`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), IndexError> {
        let content = Content {
            fingerprint: self.fingerprint.clone(),
            shape: self.shape,
            entries: self.entries.clone(),
        };
        format::write(path.as_ref(), &content)
    }

    /// Checks that this model made the index.
    ///
    /// # Errors
    ///
    /// [`IndexError::ForeignWeights`].
    pub fn check(&self, blip2: &Blip2Retrieval) -> Result<(), IndexError> {
        let expected = Self::new(blip2);
        if (&expected.fingerprint, expected.shape) == (&self.fingerprint, self.shape) {
            return Ok(());
        }
        Err(IndexError::ForeignWeights {
            found: self.fingerprint.clone(),
            expected: expected.fingerprint,
        })
    }

    /// Adds a picture under a name, such as its path.
    ///
    /// # Errors
    ///
    /// [`IndexError::Duplicate`] for a name that is there already, [`IndexError::Name`] for one
    /// that cannot be one, [`IndexError::ForeignWeights`], and whatever goes wrong with the
    /// picture.
    pub fn add<'a>(
        &mut self,
        blip2: &Blip2Retrieval,
        name: impl Into<String>,
        image: impl Into<Picture<'a>>,
    ) -> Result<(), IndexError> {
        self.add_batch(blip2, [(name, image)])
    }

    /// Adds many pictures; none is added if one of them is refused.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_batch<'a, N: Into<String>, P: Into<Picture<'a>>>(
        &mut self,
        blip2: &Blip2Retrieval,
        pictures: impl IntoIterator<Item = (N, P)>,
    ) -> Result<(), IndexError> {
        self.check(blip2)?;
        let (mut names, mut images) = (Vec::new(), Vec::new());
        for (name, image) in pictures {
            let name = checked(name.into())?;
            if self.contains(&name) || names.contains(&name) {
                return Err(IndexError::Duplicate { name });
            }
            names.push(name);
            images.push(image.into());
        }
        let photos = blip2.encode_batch(images)?;
        let entries = names.into_iter().zip(&photos);
        self.entries
            .extend(entries.map(|(name, photo)| Entry::new(name, photo)));
        Ok(())
    }

    /// Removes the picture of this name; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.entries.retain(|entry| entry.name != name);
        self.len() < before
    }

    /// Whether there is a picture of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// The pictures' names, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The fingerprint of the model that made it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The pictures that a text describes best, the best first.
    ///
    /// # Errors
    ///
    /// [`IndexError::ForeignWeights`], [`IndexError::Damaged`] if the encoding of a picture is not
    /// what was written, and whatever goes wrong with the text.
    pub fn search(
        &self,
        blip2: &Blip2Retrieval,
        text: &str,
        options: &SearchOptions,
    ) -> Result<Vec<Hit>, IndexError> {
        self.check(blip2)?;
        let query = blip2.embed_text(text)?;
        let mut ranked = self.recall(|image| image.similarity(&query))?;
        let rest = ranked.split_off(options.rerank.min(ranked.len()));
        let mut encodings = Vec::new();
        for (entry, _) in &ranked {
            encodings.push(entry.patches()?);
        }
        let matches = blip2.match_patches(encodings.iter().map(Vec::as_slice), text)?;
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
        similarity: impl Fn(&ImageEmbedding) -> Result<f32, crate::Blip2Error>,
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

impl Entry {
    fn new(name: String, photo: &EncodedPhoto) -> Self {
        let encoding = bytes(&photo.patches);
        Self {
            name,
            hash: format::hash(&encoding),
            embedding: bytes(photo.embedding.values()),
            encoding,
        }
    }

    /// The encoded picture, if it is still what was written.
    fn patches(&self) -> Result<Vec<f32>, IndexError> {
        if format::hash(&self.encoding) == self.hash {
            return Ok(floats(&self.encoding));
        }
        Err(IndexError::Damaged {
            path: Path::new(&self.name).to_path_buf(),
            detail: "the picture's encoding is not what was written".into(),
        })
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

fn checked(name: String) -> Result<String, IndexError> {
    const LONGEST: usize = 4096;
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > LONGEST {
        "it is longer than 4096 bytes"
    } else if name.contains(char::is_control) {
        "it contains a control character"
    } else {
        return Ok(name);
    };
    let name = name.chars().take(60).collect();
    Err(IndexError::Name { name, reason })
}

fn bytes(values: &[f32]) -> Bytes {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    bytes.into()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().copied().map(f32::from_le_bytes).collect()
}
