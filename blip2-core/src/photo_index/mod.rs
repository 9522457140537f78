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
//!
//! Embeddings that were computed elsewhere ([`add_vectors`](PhotoIndex::add_vectors)) come without
//! encodings: such pictures are ranked by similarity alone, behind those that are matched.

mod entry;
mod error;
mod format;
mod search;

use std::{collections::BTreeSet, fmt, path::Path};

use blip2_io::vectors::Vectors;
use entry::Entry;
pub use error::IndexError;
use format::{Content, Shape};
pub use search::{Hit, SearchOptions};

use crate::{
    picture::Picture,
    retrieval::Blip2Retrieval,
    verbs::{CompareOptions, Compares},
};

/// Pictures by name, each embedded and encoded by one model, in the order in which they were added.
///
/// ```
/// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::{PhotoIndex, photo_index::SearchOptions};
///
/// let mut index = PhotoIndex::new(&blip2);
/// index.add(&blip2, "red", &image)?;
/// index.add(&blip2, "blue", &blip2.open("../examples/images/blue-circle.png")?)?;
/// let options = SearchOptions::default().with_limit(1);
/// let best = index.search(&blip2, "a triangle", &options)?;
/// assert_eq!((index.len(), best.len()), (2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PhotoIndex {
    fingerprint: String,
    shape: Shape,
    entries: Vec<Entry>,
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
    /// ```
    /// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("photos.idx");
    /// use blip2_core::PhotoIndex;
    ///
    /// let mut index = PhotoIndex::new(&blip2);
    /// index.add(&blip2, "red", &blip2.open("../examples/images/red-triangle.png")?)?;
    /// index.save(&path)?; // "photos.idx"
    ///
    /// let index = PhotoIndex::open(&path)?;
    /// index.check(&blip2)?; // this model made it
    /// assert!(index.names().eq(["red"]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Writes the pictures' embeddings as a NumPy file, `[pictures, queries, dim]` in `f32`, in the order
    /// of [`names`](Self::names): for a vector database, or
    /// [`Vectors`], which searches it.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("photos.npy");
    /// # let mut index = blip2_core::PhotoIndex::new(&blip2);
    /// index.add(&blip2, "red", &blip2.open("../examples/images/red-triangle.png")?)?;
    /// index.save_npy(&path)?; // "photos.npy"
    ///
    /// let vectors = blip2_io::vectors::Vectors::open(&path)?;
    /// let text = blip2.embed_text("a red triangle")?;
    /// assert_eq!(vectors.nearest(text.vector(), 1)?[0].row, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IndexError::Write`].
    pub fn save_npy(&self, path: impl AsRef<Path>) -> Result<(), IndexError> {
        let path = path.as_ref();
        let embeddings = self.entries.iter().map(|entry| entry.embedding.as_ref());
        format::write_npy(path, self.shape, embeddings).map_err(|source| IndexError::Write {
            path: path.to_path_buf(),
            source,
        })
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
        let (names, images) = apart(pictures)?;
        if let Some(name) = names.iter().find(|name| self.contains(name)) {
            return Err(IndexError::Duplicate { name: name.clone() });
        }
        let new = self.encoded(blip2, names, images)?;
        self.entries.extend(new);
        Ok(())
    }

    /// As [`add_batch`](Self::add_batch), with pictures whose names are there already in the place of those: how
    /// many were replaced.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
    /// # let mut index = blip2_core::PhotoIndex::new(&blip2);
    /// # let picture = |name: &str| blip2.open(format!("../examples/images/{name}.png"));
    /// let (red, blue) = (picture("red-triangle")?, picture("blue-circle")?);
    /// index.add(&blip2, "today", &red)?;
    /// assert_eq!(index.put_batch(&blip2, [("today", &blue), ("yesterday", &red)])?, 1);
    /// let best = &index.search_by_picture(&blip2, &red, 1)?[0];
    /// assert_eq!((index.len(), best.name.as_str()), (2, "yesterday"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add); [`IndexError::Duplicate`] for a name that the batch has twice.
    pub fn put_batch<'a, N: Into<String>, P: Into<Picture<'a>>>(
        &mut self,
        blip2: &Blip2Retrieval,
        pictures: impl IntoIterator<Item = (N, P)>,
    ) -> Result<usize, IndexError> {
        let (names, images) = apart(pictures)?;
        let mut replaced = 0;
        for new in self.encoded(blip2, names, images)? {
            match self.entries.iter_mut().find(|old| old.name == new.name) {
                Some(old) => {
                    *old = new;
                    replaced += 1;
                }
                None => self.entries.push(new),
            }
        }
        Ok(replaced)
    }

    /// Pictures as they are kept.
    fn encoded(
        &self,
        blip2: &Blip2Retrieval,
        names: Vec<String>,
        images: Vec<Picture<'_>>,
    ) -> Result<Vec<Entry>, IndexError> {
        self.check(blip2)?;
        let photos = blip2.encode_batch(images, &CompareOptions::default())?;
        let entries = names.into_iter().zip(&photos);
        Ok(entries
            .map(|(name, photo)| Entry::new(name, photo))
            .collect())
    }

    /// Whether a picture may have this name.
    ///
    /// # Errors
    ///
    /// [`IndexError::Name`].
    pub fn check_name(name: &str) -> Result<(), IndexError> {
        checked(name.to_string()).map(drop)
    }

    /// Adds pictures whose embeddings were computed before, by `blip2 embed`, `blip2 map --embed` or
    /// [`save_npy`](Self::save_npy), perhaps on other machines: they are found by similarity, and never
    /// [matched](crate::Blip2Retrieval::match_encoded), for which a picture's encoding is needed. Each has the
    /// [name](Vectors::names) that the file tells, or else `FILE:ROW`, counted from 0. None is added if one of
    /// them is refused. That this model made them is for the caller to know.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("photos.npy");
    /// # let mut computed = blip2_core::PhotoIndex::new(&blip2);
    /// # computed.add(&blip2, "red", &blip2.open("../examples/images/red-triangle.png")?)?;
    /// # computed.save_npy(&path)?;
    /// use blip2_core::{PhotoIndex, photo_index::SearchOptions};
    /// use blip2_io::vectors::Vectors;
    ///
    /// let mut index = PhotoIndex::new(&blip2);
    /// index.add_vectors(&blip2, &Vectors::open(&path)?)?; // "photos.npy"
    /// let hits = index.search(&blip2, "a red triangle", &SearchOptions::default())?;
    /// assert_eq!((hits.len(), hits[0].probability), (1, None)); // not matched
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IndexError::Vectors`] for vectors of another shape than the model's, or that are not of length 1;
    /// [`IndexError::Duplicate`], [`IndexError::Name`], [`IndexError::ForeignWeights`].
    pub fn add_vectors(
        &mut self,
        blip2: &Blip2Retrieval,
        vectors: &Vectors,
    ) -> Result<(), IndexError> {
        self.add_all_vectors(blip2, vectors, |name| Err(IndexError::Duplicate { name }))
    }

    /// As [`add_vectors`](Self::add_vectors), of pictures that the index does not hold yet, each once: how many
    /// were left out.
    ///
    /// # Errors
    ///
    /// As [`add_vectors`](Self::add_vectors), but for [`IndexError::Duplicate`].
    pub fn add_new_vectors(
        &mut self,
        blip2: &Blip2Retrieval,
        vectors: &Vectors,
    ) -> Result<usize, IndexError> {
        let mut left_out = 0;
        self.add_all_vectors(blip2, vectors, |_| {
            left_out += 1;
            Ok(())
        })?;
        Ok(left_out)
    }

    /// Adds vectors; `twice` says what becomes of a picture that is there already.
    fn add_all_vectors(
        &mut self,
        blip2: &Blip2Retrieval,
        vectors: &Vectors,
        mut twice: impl FnMut(String) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.check(blip2)?;
        let [queries, dim] = self.shape.embedding;
        if vectors.shape() != [queries, dim] {
            let [found, width] = vectors.shape();
            return Err(IndexError::Vectors {
                path: vectors.path().to_path_buf(),
                reason: format!(
                    "a picture has {found} vectors of {width} numbers, where this model makes {queries} of \
                     {dim}; take the projected features of the same model"
                ),
            });
        }
        let mut names: BTreeSet<String> = self.names().map(str::to_string).collect();
        let mut entries = Vec::with_capacity(vectors.len());
        for picture in 0..vectors.len() {
            let row = vectors.row(picture);
            let name = match vectors.names().get(picture) {
                Some(name) => name.clone(),
                None => format!("{}:{row}", vectors.path().display()),
            };
            let name = checked(name)?;
            if !names.insert(name.clone()) {
                twice(name)?;
                continue;
            }
            let numbers = vectors.picture(picture).unwrap_or_default();
            if !numbers.chunks_exact(dim.max(1)).all(is_unit) {
                return Err(IndexError::Vectors {
                    path: vectors.path().to_path_buf(),
                    reason: format!(
                        "a vector of row {row} is not of length 1; take the projected features"
                    ),
                });
            }
            entries.push(Entry::of_vectors(name, &numbers));
        }
        self.entries.extend(entries);
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
}

impl fmt::Debug for PhotoIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhotoIndex")
            .field("pictures", &self.len())
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Whether a vector is as long as a scalar product that is to be a cosine needs it.
fn is_unit(vector: &[f32]) -> bool {
    let square: f32 = vector.iter().map(|x| x * x).sum();
    (square - 1.0).abs() < 1e-2
}

/// The names and the pictures of a batch, none of whose names is there twice.
fn apart<'a, N: Into<String>, P: Into<Picture<'a>>>(
    pictures: impl IntoIterator<Item = (N, P)>,
) -> Result<(Vec<String>, Vec<Picture<'a>>), IndexError> {
    let (mut names, mut images) = (Vec::new(), Vec::new());
    for (name, image) in pictures {
        let name = checked(name.into())?;
        if names.contains(&name) {
            return Err(IndexError::Duplicate { name });
        }
        names.push(name);
        images.push(image.into());
    }
    Ok((names, images))
}

/// A name that can be one.
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
