//! Weights on disk: one safetensors file or several with an index, memory-mapped.

mod account;
mod bin;
mod fingerprint;
mod finite;
mod header;
mod index;
mod layout;
pub(crate) mod packed;
mod plan;
mod quantized;
mod safetensors;
mod serialized;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use blip2_kernels::{PackedFormat, matrix_shape};
use burn::tensor::DType;
use bytes::Bytes;
use pytorch_reader::Tensor;

pub use crate::report::{LoadReport, Misshapen, Missing};
pub use plan::{PlannedTensor, WeightPlan};
pub use source::CheckpointWeights;

use crate::{
    error::IoError,
    files::{Content, Files, Reading},
};
use index::WeightMap;
use layout::Layout;

/// The one-file name.
pub(crate) const SINGLE: &str = "model.safetensors";
/// What PyTorch's `DistributedDataParallel` and `torch.compile` put before the names of a model.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];
/// How files of the format end.
const SAFETENSORS: &str = ".safetensors";

/// The tensors of a checkpoint, mapped into memory and not read until they are used. The default
/// has none.
///
/// ```
/// use blip2_io::Checkpoint;
///
/// let checkpoint = Checkpoint::open("../fixtures/blip2_itr")?;
/// assert_eq!(checkpoint.shape("query_tokens"), Some([1, 8, 24].as_slice()));
/// for name in checkpoint.names().filter(|name| name.starts_with("itm_head.")) {
///     println!("{name} {:?}", checkpoint.shape(name));
/// }
/// # Ok::<(), blip2_io::IoError>(())
/// ```
#[derive(Clone, Default)]
pub struct Checkpoint {
    folder: PathBuf,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
}

impl fmt::Debug for Checkpoint {
    /// What it is and how large; its tensors and files would print every byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("folder", &self.folder)
            .field("shards", &self.shards.len())
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Shard {
    path: PathBuf,
    content: Content,
}

/// Where a tensor is and what it holds.
#[derive(Debug, Clone)]
struct Entry {
    shard: usize,
    dtype: DType,
    shape: Vec<usize>,
    place: Place,
    /// Of a matrix that is stored packed; its shape and format are those of the matrix.
    packed: Option<PackedFormat>,
}

impl Entry {
    /// Whether this is a tensor of `shape`. What is packed is a matrix, whatever axes of one it had.
    fn fits(&self, shape: &[usize]) -> bool {
        self.shape == shape
            || self.packed.is_some() && matrix_shape(shape).is_some_and(|shape| self.shape == shape)
    }
}

/// Where a tensor's bytes are.
#[derive(Debug, Clone)]
enum Place {
    /// In its shard, which is mapped.
    Range(Range<usize>),
    /// In a PyTorch file, from which they are read when they are asked for.
    Pickled(Tensor),
}

impl Place {
    /// The number of bytes.
    fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::Pickled(tensor) => tensor.byte_len(),
        }
    }
}

impl Checkpoint {
    /// Opens the weights of the folder at `path`: `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` names, or shards that no index speaks of; where there is no
    /// safetensors file, the same of `pytorch_model.bin`, of which no code is run.
    ///
    /// Every header is read and checked against its file's length; the numbers are not read.
    ///
    /// # Errors
    ///
    /// [`IoError`] naming the file, and the tensor or shard: missing, truncated or damaged files,
    /// formats that cannot hold weights, shards outside the folder, tensors that the index
    /// promises and no shard holds.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoError> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Err(IoError::NoFolder(path.to_path_buf()));
        }
        Self::from_files(&Files::disk(path, Reading::Mapped))
    }

    pub(crate) fn from_files(files: &Files) -> Result<Self, IoError> {
        let mut checkpoint = Self {
            folder: files.folder().to_path_buf(),
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        };
        match Layout::of(files)? {
            Layout::Single(name) => checkpoint.add(files, &name, |_| true)?,
            Layout::Indexed(name, index) => checkpoint.add_indexed(files, &name, &index)?,
            Layout::Shards(names) => {
                for name in names {
                    checkpoint.add_unindexed(files, &name)?;
                }
            }
        }
        Ok(checkpoint.without_wrappers())
    }

    /// The same tensors without what training wrappers put before all of their names.
    fn without_wrappers(mut self) -> Self {
        // A model may be in one of each; a name that repeats them without end is nobody's.
        for _ in WRAPPERS {
            let is_before_all =
                |wrapper: &&&str| self.names().all(|name| name.starts_with(**wrapper));
            let found = WRAPPERS.iter().find(is_before_all);
            let Some(wrapper) = found.filter(|_| !self.is_empty()) else {
                break;
            };
            self = self.with_alias(wrapper, "");
        }
        self
    }

    /// The tensors of one file of a folder.
    pub(crate) fn of_file(files: &Files, name: &str) -> Result<Self, IoError> {
        let mut checkpoint = Self {
            folder: files.folder().to_path_buf(),
            ..Self::default()
        };
        checkpoint.add(files, name, |_| true)?;
        Ok(checkpoint)
    }

    /// Adds the shards that an index names.
    fn add_indexed(&mut self, files: &Files, name: &str, index: &WeightMap) -> Result<(), IoError> {
        for shard in index::shards(index) {
            if !files.has(shard) {
                return Err(IoError::MissingFile {
                    folder: self.folder.clone(),
                    file: shard.to_string(),
                    remedy: "the index names it; download all shards",
                });
            }
            // A tensor that stands in several is read where the index says.
            let held: BTreeSet<String> = self.tensors.keys().cloned().collect();
            self.add(files, shard, |tensor| {
                let is_home = index.get(tensor).is_none_or(|home| home == shard);
                is_home || !held.contains(tensor)
            })?;
        }
        index::check(&files.path(name), index, |tensor| {
            self.tensors.contains_key(tensor)
        })
    }

    /// Adds a shard that no index speaks of, whose tensors no other may hold.
    fn add_unindexed(&mut self, files: &Files, name: &str) -> Result<(), IoError> {
        let before = std::mem::take(&mut self.tensors);
        self.add(files, name, |_| true)?;
        let twice = before.keys().find(|name| self.tensors.contains_key(*name));
        if let Some(tensor) = twice {
            let other = before
                .get(tensor)
                .and_then(|entry| self.shards.get(entry.shard));
            let other = other.and_then(|shard| shard.path.file_name());
            return Err(IoError::DuplicateTensor {
                path: files.path(name),
                tensor: tensor.clone(),
                other: other.unwrap_or_default().to_string_lossy().into_owned(),
            });
        }
        self.tensors.extend(before);
        Ok(())
    }

    /// The file that holds a tensor.
    fn file_of(&self, tensor: &str) -> Option<&Path> {
        let entry = self.tensors.get(tensor)?;
        Some(self.shards.get(entry.shard)?.path.as_path())
    }

    /// Adds those tensors of a file that belong to it.
    fn add(
        &mut self,
        files: &Files,
        name: &str,
        belongs: impl Fn(&str) -> bool,
    ) -> Result<(), IoError> {
        let path = files.path(name);
        let shard = self.shards.len();
        let (content, tensors) = match name.ends_with(SAFETENSORS) {
            true => safetensors::open(files, name, shard)?,
            false => bin::open(files, name, shard)?,
        };
        self.shards.push(Shard { path, content });
        let belonging = tensors.into_iter().filter(|(name, _)| belongs(name));
        self.tensors.extend(belonging);
        Ok(())
    }

    /// The same tensors, those whose names start with `from` under names that start with `to`
    /// instead. For checkpoints that a wrapper saved: `with_alias("module.", "")`.
    ///
    /// Where the other name is taken, a tensor keeps its own.
    #[must_use]
    pub fn with_alias(mut self, from: &str, to: &str) -> Self {
        let names: Vec<String> = self.tensors.keys().cloned().collect();
        for name in names {
            let Some(rest) = name.strip_prefix(from) else {
                continue;
            };
            let alias = format!("{to}{rest}");
            if !self.tensors.contains_key(&alias)
                && let Some(entry) = self.tensors.remove(&name)
            {
                self.tensors.insert(alias, entry);
            }
        }
        self
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's shape, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// A tensor's number format, if there is one of that name.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        self.tensors.get(name).map(|entry| entry.dtype)
    }

    /// The format that a tensor is stored packed in, if it is.
    pub fn packed_format(&self, name: &str) -> Option<PackedFormat> {
        self.tensors.get(name).and_then(|entry| entry.packed)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The bytes of all tensors together.
    pub fn size(&self) -> u64 {
        self.tensors
            .values()
            .map(|entry| entry.place.len() as u64)
            .sum()
    }

    /// The bytes of a tensor where they lie, in the map of its file or in memory; `None` where it is packed, or of
    /// a PyTorch file, which is read in pieces.
    pub fn as_bytes(&self, name: &str) -> Option<&[u8]> {
        let entry = self.tensors.get(name)?;
        match (&entry.place, entry.packed) {
            (Place::Range(range), None) => {
                let shard = self.shards.get(entry.shard)?;
                shard.content.bytes.get(range.clone())
            }
            _ => None,
        }
    }

    /// The bytes of a tensor as it is stored, if there is one of that name.
    #[cfg(feature = "lavis")]
    pub(crate) fn stored(&self, name: &str) -> Option<io::Result<Bytes>> {
        Some(self.bytes(self.tensors.get(name)?))
    }

    /// The raw bytes of a tensor: a view into the map, or read from a PyTorch file.
    fn bytes(&self, entry: &Entry) -> io::Result<Bytes> {
        match &entry.place {
            Place::Range(range) => {
                let shard = self
                    .shards
                    .get(entry.shard)
                    .map(|shard| &shard.content.bytes);
                let bytes = shard.filter(|bytes| range.end <= bytes.len());
                let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(bytes.slice(range.clone()))
            }
            Place::Pickled(tensor) => tensor.read().map(Bytes::from),
        }
    }

    /// Gives back the memory that a mapped tensor takes once its numbers are held in another
    /// format: the model would else be there twice. They can still be read again.
    pub fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name)
            && let Place::Range(range) = &entry.place
            && let Some(shard) = self.shards.get(entry.shard)
        {
            shard.content.release(range.clone());
        }
    }
}

/// The shards that an index names, each a plain file name.
pub(crate) fn shards_of(path: &Path, index: &[u8]) -> Result<Vec<String>, IoError> {
    let index = index::parse(path, index)?;
    Ok(index::shards(&index)
        .into_iter()
        .map(str::to_string)
        .collect())
}
