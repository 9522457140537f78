//! Feature vectors of pictures in files, and the search among them.
//!
//! A NumPy file is mapped into memory, so that a million vectors are open at once and read when they are
//! looked at; a Parquet table's column is read. A search is exact: it looks at every vector.
//!
//! ```
//! use blip2_io::vectors::{Vectors, npy_head};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("photos.npy");
//! let mut file = npy_head(&[3, 2]); // as `numpy.save` writes it
//! file.extend([[1.0f32, 0.0], [0.6, 0.8], [0.0, 1.0]].iter().flatten().flat_map(|x| x.to_le_bytes()));
//! std::fs::write(&path, file)?;
//!
//! let photos = Vectors::open(&path)?;
//! let best = photos.nearest(&[0.0, 1.0], 1)?;
//! assert_eq!((photos.len(), best[0].row, best[0].score), (3, 2, 1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod names;
mod npy;
#[cfg(feature = "tables")]
mod table;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use blip2_kernels::{Nearest, nearest};
use bytes::Bytes;

pub use error::VectorError;
pub use names::names_file;
pub use npy::npy_head;

use crate::files::map_file;

/// Vectors of pictures, in the order of a file. A picture may have several: then its score is that of
/// the best, as BLIP-2 compares a picture with a text.
#[derive(Clone)]
pub struct Vectors {
    path: PathBuf,
    /// Little-endian `f32`, `[pictures, group, width]`.
    values: Bytes,
    pictures: usize,
    group: usize,
    width: usize,
    names: Vec<String>,
    /// Of a table in which some rows have no vector, the rows that have.
    rows: Option<Vec<usize>>,
    left_out: usize,
}

impl Vectors {
    /// Opens a NumPy file of `float32`, `[pictures, width]` or `[pictures, queries, width]`, or (feature
    /// `tables`) a Parquet file with one column of vectors, or one that is called `embedding`.
    ///
    /// The pictures' [names](Self::names) are those of `NAME.names.json` beside a NumPy file, as `blip2
    /// embed` writes them, or the paths in the table. Rows of a table without a vector, such as those whose
    /// picture could not be read, are [left out](Self::left_out).
    ///
    /// # Errors
    ///
    /// [`VectorError`] naming the file, what it holds and the way out.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, VectorError> {
        let path = path.as_ref();
        #[cfg(feature = "tables")]
        if !path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
        {
            return table::read(path);
        }
        let file = map_file(path)?;
        let (shape, begin) = npy::read_head(path, &file)?;
        let vectors = Self::new(path, file.slice(begin..), &shape)?;
        let names = names::beside(path, vectors.pictures)?;
        Ok(Self { names, ..vectors })
    }

    /// Vectors of a shape.
    fn new(path: &Path, values: Bytes, shape: &[usize]) -> Result<Self, VectorError> {
        let (pictures, group, width) = match shape {
            [pictures, width] => (*pictures, 1, *width),
            [pictures, group, width] => (*pictures, *group, *width),
            _ => (0, 0, 0),
        };
        if group == 0 || width == 0 {
            return Err(VectorError::Format {
                path: path.to_path_buf(),
                reason: format!(
                    "it holds an array of the shape {shape:?}, where a vector of each picture, or \
                     several, are due: [pictures, width] or [pictures, queries, width]"
                ),
            });
        }
        Ok(Self {
            path: path.to_path_buf(),
            values,
            pictures,
            group,
            width,
            names: Vec::new(),
            rows: None,
            left_out: 0,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.pictures
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.pictures == 0
    }

    /// The names of the pictures, in order; none where nothing tells them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The row of the file in which a picture's vectors stand.
    pub fn row(&self, picture: usize) -> usize {
        let rows = self.rows.as_ref();
        rows.and_then(|rows| rows.get(picture))
            .copied()
            .unwrap_or(picture)
    }

    /// How many rows of a table have no vector.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// How many vectors each picture has, and how many numbers each vector.
    pub fn shape(&self) -> [usize; 2] {
        [self.group, self.width]
    }

    /// The numbers of a picture's vectors, if there is such a picture.
    pub fn picture(&self, row: usize) -> Option<Vec<f32>> {
        let size = size_of::<f32>() * self.group * self.width;
        let begin = row.checked_mul(size)?;
        let bytes = self.values.get(begin..begin.checked_add(size)?)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        Some(numbers.iter().copied().map(f32::from_le_bytes).collect())
    }

    /// The `count` pictures whose vectors have the largest scalar products with `query`, the best first.
    ///
    /// # Errors
    ///
    /// [`VectorError::Width`].
    pub fn nearest(&self, query: &[f32], count: usize) -> Result<Vec<Nearest>, VectorError> {
        if query.len() != self.width {
            return Err(VectorError::Width {
                found: self.width,
                query: query.len(),
            });
        }
        Ok(nearest(&self.values, query, self.group, count))
    }
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors")
            .field("path", &self.path)
            .field("pictures", &self.pictures)
            .field("shape", &self.shape())
            .finish_non_exhaustive()
    }
}
