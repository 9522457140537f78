//! Weights on disk: one safetensors file or several with an index, memory-mapped.

mod account;
mod fingerprint;
mod finite;
mod index;
pub(crate) mod packed;
mod plan;
mod source;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use blip2_kernels::PackedFormat;
use burn::tensor::{BoolStore, DType};
use bytes::Bytes;
use safetensors::{Dtype, SafeTensors};

pub use crate::report::{LoadReport, Misshapen, Missing};
pub use plan::{PlannedTensor, WeightPlan};
pub use source::CheckpointWeights;

use crate::{
    error::IoError,
    files::{Content, Files},
};

/// The one-file name.
const SINGLE: &str = "model.safetensors";
/// The index of a sharded checkpoint.
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a checkpoint, mapped into memory and not read until they are used. The default
/// has none.
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
    range: Range<usize>,
    /// Of a matrix that is stored packed; its shape and format are those of the matrix.
    packed: Option<PackedFormat>,
}

impl Checkpoint {
    /// Opens the weights of the folder at `path`: `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` names.
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
        Self::from_files(&Files::Disk(path.to_path_buf()))
    }

    pub(crate) fn from_files(files: &Files) -> Result<Self, IoError> {
        let mut checkpoint = Self {
            folder: files.folder().to_path_buf(),
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        };
        if let Some(data) = files.map(SINGLE)? {
            checkpoint.add(files.path(SINGLE), data, |_| true)?;
        } else if let Some(index) = files.read(INDEX)? {
            let path = files.path(INDEX);
            let index = index::parse(&path, &index)?;
            for shard in index::shards(&index) {
                let data = files.map(shard)?.ok_or_else(|| IoError::MissingFile {
                    folder: checkpoint.folder.clone(),
                    file: shard.to_string(),
                    remedy: "the index names it; download all shards",
                })?;
                checkpoint.add(files.path(shard), data, |tensor| {
                    index.get(tensor).is_none_or(|home| home == shard)
                })?;
            }
            index::check(&path, &index, |tensor| {
                let entry = checkpoint.tensors.get(tensor)?;
                checkpoint
                    .shards
                    .get(entry.shard)
                    .map(|shard| shard.path.as_path())
            })?;
        } else {
            return Err(missing_weights(files));
        }
        Ok(checkpoint)
    }

    /// The tensors of one file.
    pub(crate) fn of_file(path: PathBuf, content: Content) -> Result<Self, IoError> {
        let mut checkpoint = Self {
            folder: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            ..Self::default()
        };
        checkpoint.add(path, content, |_| true)?;
        Ok(checkpoint)
    }

    /// Adds those tensors of a file that belong to it.
    fn add(
        &mut self,
        path: PathBuf,
        content: Content,
        belongs: impl Fn(&str) -> bool,
    ) -> Result<(), IoError> {
        let broken = |error| IoError::safetensors(&path, error);
        // Checks everything: offsets against shapes and formats, and the file's length.
        SafeTensors::deserialize(&content.bytes).map_err(broken)?;
        let (header, metadata) = SafeTensors::read_metadata(&content.bytes).map_err(broken)?;
        let start = header + size_of::<u64>();
        let matrices = packed::matrices(metadata.metadata());
        let mut matrices = matrices.map_err(|detail| IoError::safetensors(&path, detail))?;
        for (name, info) in metadata.tensors() {
            if !belongs(&name) {
                continue;
            }
            let dtype = match info.dtype {
                Dtype::F64 => DType::F64,
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                // Buffers such as position ids: no weights, and no model asks for them.
                Dtype::I64 => DType::I64,
                Dtype::I32 => DType::I32,
                Dtype::U8 => DType::U8,
                Dtype::BOOL => DType::Bool(BoolStore::U8),
                other => {
                    let dtype = format!("{other:?}");
                    return Err(IoError::Dtype {
                        path,
                        tensor: name,
                        dtype,
                    });
                }
            };
            let (from, to) = info.data_offsets;
            let matrix = matrices.remove(&name);
            if let Some(matrix) = &matrix {
                let checked = matrix.check(&name, dtype, to - from);
                checked.map_err(|detail| IoError::safetensors(&path, detail))?;
            }
            let entry = Entry {
                shard: self.shards.len(),
                dtype: matrix.map_or(dtype, |_| DType::F32),
                shape: matrix.map_or_else(|| info.shape.clone(), |matrix| matrix.shape.to_vec()),
                range: start + from..start + to,
                packed: matrix.map(|matrix| matrix.format),
            };
            self.tensors.insert(name, entry);
        }
        self.shards.push(Shard { path, content });
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
            .map(|entry| entry.range.len() as u64)
            .sum()
    }

    /// Every tensor's name, format if weights have it, shape and bytes.
    #[cfg(feature = "lavis")]
    pub(crate) fn views(&self) -> impl Iterator<Item = (&str, Option<Dtype>, &[usize], Bytes)> {
        self.tensors.iter().filter_map(|(name, entry)| {
            let dtype = match entry.dtype {
                DType::F64 => Some(Dtype::F64),
                DType::F32 => Some(Dtype::F32),
                DType::F16 => Some(Dtype::F16),
                DType::BF16 => Some(Dtype::BF16),
                _ => None,
            };
            let dtype = dtype.filter(|_| entry.packed.is_none());
            Some((
                name.as_str(),
                dtype,
                entry.shape.as_slice(),
                self.bytes(entry)?,
            ))
        })
    }

    /// The raw bytes of a tensor, a view into the map.
    fn bytes(&self, entry: &Entry) -> Option<Bytes> {
        let bytes = &self.shards.get(entry.shard)?.content.bytes;
        (entry.range.end <= bytes.len()).then(|| bytes.slice(entry.range.clone()))
    }

    /// Gives back the memory that a mapped tensor takes once its numbers are held in another
    /// format: the model would else be there twice. They can still be read again.
    pub fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name)
            && let Some(shard) = self.shards.get(entry.shard)
        {
            shard.content.release(entry.range.clone());
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

fn missing_weights(files: &Files) -> IoError {
    let remedy = if files.has("pytorch_model.bin") || files.has("pytorch_model.bin.index.json") {
        "only pytorch_model.bin is there, which can run code; load it with `transformers` and save \
         it again with safe_serialization=True"
    } else {
        "a checkpoint folder holds it, or model.safetensors.index.json with its shards"
    };
    IoError::MissingFile {
        folder: files.folder().to_path_buf(),
        file: SINGLE.into(),
        remedy,
    }
}
