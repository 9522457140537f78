//! What can go wrong while reading.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

#[cfg(feature = "sound")]
use crate::sound::SoundError;
use crate::{
    config::{ConfigError, ModelKind},
    fault::{Cause, ErrorKind},
    plain,
    preprocessing::ImageError,
    report::LoadReport,
};

/// Why a checkpoint folder or a picture could not be read. Each variant names the file, tensor or
/// key at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// There is no such folder.
    #[error("{}: there is no such folder; give the folder that holds config.json", .0.display())]
    NoFolder(PathBuf),
    /// There is no such folder, and no model of that id in the hub's cache.
    #[error(
        "{id}: there is no such folder, and no model of that id in the Hugging Face cache {}; \
         download it there with `hf download {id}`, with the program's `blip2 download {id}`, or with \
         the feature `hub` and `hub::Download`",
        .cache.display()
    )]
    NotCached {
        /// The id, or the path.
        id: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The hub's cache has the model, and another revision of it.
    #[error(
        "{id}: the Hugging Face cache {} has no such revision of it, but {}; take one of these after the @, \
         or download it with `hf download`, with the program's `blip2 download {id}`, or with the feature \
         `hub` and `hub::Download`",
        .cache.display(),
        .revisions.join(", ")
    )]
    NoRevision {
        /// The id, with the revision.
        id: String,
        /// The cache.
        cache: PathBuf,
        /// The revisions that are there.
        revisions: Vec<String>,
    },
    /// A model that could not be downloaded.
    #[cfg(feature = "hub")]
    #[error("{id}: {reason}")]
    #[non_exhaustive]
    Hub {
        /// The model's id.
        id: String,
        /// What went wrong, and what to do.
        reason: String,
        /// What is at fault.
        kind: ErrorKind,
    },
    /// A file that would take the place of what is read.
    #[error(
        "{}: would be written over {}, which is read; give another name",
        .output.display(), .input.display()
    )]
    OntoInput {
        /// The file.
        output: PathBuf,
        /// What is read.
        input: PathBuf,
    },
    /// A file that a checkpoint folder must hold is missing.
    #[error("{}: {file} is missing; {remedy}", .folder.display())]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// The file.
        file: String,
        /// What to do.
        remedy: &'static str,
    },
    /// What Git LFS leaves in place of a file that it has not fetched.
    #[error(
        "{}: only a Git LFS pointer, in place of the file; fetch it with `git lfs install` and `git \
         lfs pull` in the cloned folder, or download the file itself", .path.display()
    )]
    #[non_exhaustive]
    GitLfs {
        /// The file.
        path: PathBuf,
    },
    /// Weights that another library packed in a format of its own.
    #[error(
        "{}: the weights were quantised by {method} (`{tensor}`), in a format of its own that only \
         it reads; take the folder that it was made of, with weights in F32, F16 or BF16 (or load \
         this one in `transformers`, `dequantize()` and save it): int8 and int4 are made of those \
         when they are loaded",
        .path.display()
    )]
    #[non_exhaustive]
    Quantized {
        /// The file.
        path: PathBuf,
        /// The library, and the format.
        method: String,
        /// A tensor by which it is known, or the key of the configuration.
        tensor: String,
    },
    /// A shard of a checkpoint that is not there.
    #[error(
        "{}: {missing} is missing: {found} of {of} shards are there; download all of them",
        .folder.display()
    )]
    #[non_exhaustive]
    MissingShard {
        /// The folder.
        folder: PathBuf,
        /// The first shard that is missing.
        missing: String,
        /// How many are there.
        found: usize,
        /// How many there should be.
        of: usize,
    },
    /// A tensor that two shards without an index both hold.
    #[error(
        "{}: tensor `{tensor}` is in {other} too; the shards belong to different checkpoints",
        .path.display()
    )]
    #[non_exhaustive]
    DuplicateTensor {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The other shard.
        other: String,
    },
    /// A PyTorch file that cannot be read without running what is in it, or is damaged.
    #[error(
        "{}: no PyTorch checkpoint that can be read without running code: {source}", .path.display()
    )]
    #[non_exhaustive]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Cause,
    },
    /// A file could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A JSON file is not well-formed, or a value in it has the wrong type.
    #[error("{}: {}{source}", .path.display(), prefix(.key))]
    Json {
        /// The file.
        path: PathBuf,
        /// The key at fault, as in `vision_config.hidden_size`; empty if the fault is the file's.
        key: String,
        /// Why, and at which line and column.
        source: Cause,
    },
    /// A configuration whose numbers make no sense together.
    #[error("{}: {source}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key at fault.
        source: ConfigError,
    },
    /// A model that this library does not know.
    #[error(
        "{}: model_type `{found}` is not supported; supported: {}",
        .path.display(), ModelKind::known_types()
    )]
    ModelType {
        /// The configuration file.
        path: PathBuf,
        /// Its model type.
        found: String,
    },
    /// A class of a known `model_type` that this library does not know.
    #[error(
        "{}: architectures names {found}, which is not supported; supported: {}",
        .path.display(), ModelKind::known_classes(.model_type.as_deref())
    )]
    Architecture {
        /// The configuration file.
        path: PathBuf,
        /// The classes in it.
        found: String,
        /// Its model type, if it has one.
        model_type: Option<String>,
    },
    /// A folder that holds another model than the call reads.
    #[error(
        "{}: the checkpoint is {}, which can {}; wanted is {wanted}",
        .path.display(), .found.with_article(), .found.describe()
    )]
    Kind {
        /// The configuration file.
        path: PathBuf,
        /// What the folder holds.
        found: ModelKind,
        /// What the call reads.
        wanted: &'static str,
    },
    /// A file cannot be written.
    #[error("{}: cannot be written: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A LAVIS checkpoint that cannot be read, or lacks a part.
    #[cfg(feature = "lavis")]
    #[error("{}: {reason}", .path.display())]
    Lavis {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A part that a LAVIS checkpoint leaves out, and that was not given beside it.
    #[cfg(feature = "lavis")]
    #[error("{}: {reason}; give `{setting}`, {what}", .path.display())]
    #[non_exhaustive]
    LavisNeeds {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
        /// The setting of the [`Conversion`](crate::lavis::Conversion) that gives it.
        setting: &'static str,
        /// What is to be given.
        what: &'static str,
    },
    /// A tensor that was to be written is not there.
    #[error("{}: there is no tensor `{tensor}` to write; the checkpoint is not complete", .path.display())]
    NoTensor {
        /// The file that was being written.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A file that was opened like a folder, but holds no folder's files.
    #[error(
        "{}: no whole file that `blip2 pack` made; give the folder of a checkpoint, or pack it \
         again; a .pth file of LAVIS is to be converted",
        .path.display()
    )]
    NotPacked {
        /// The file.
        path: PathBuf,
    },
    /// A safetensors file that is damaged.
    #[error(
        "{}: not a whole safetensors file: {source}; download or save it again", .path.display()
    )]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Cause,
    },
    /// A tensor of a number format that cannot hold weights.
    #[error(
        "{}: tensor `{tensor}` has the format {dtype}; weights must be F64, F32, F16 or BF16",
        .path.display()
    )]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its format.
        dtype: String,
    },
    /// A PyTorch file with a tensor of a form, or number format, that no weights have.
    #[error(
        "{}: it holds tensors in the form {form}; weights must be plain tensors of F64, F32, F16 or BF16: \
         convert them in PyTorch and save them again",
        .path.display()
    )]
    #[non_exhaustive]
    TensorForm {
        /// The file.
        path: PathBuf,
        /// What PyTorch calls it.
        form: String,
    },
    /// A shard index that names a file outside its folder.
    #[error(
        "{}: the shard `{shard}` is not a plain file name; an index may only name files beside it",
        .path.display()
    )]
    ShardPath {
        /// The index.
        path: PathBuf,
        /// The name in it.
        shard: String,
    },
    /// A tensor that the index puts into a shard, and that no shard holds.
    #[error(
        "{}: tensor `{tensor}` should be in {shard}, which does not hold it; the shards and the \
         index belong to different checkpoints", .path.display()
    )]
    ShardContent {
        /// The index.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// The checkpoint does not hold the weights that the configuration asks for.
    #[error("{}: {report}", .path.display())]
    Weights {
        /// The folder.
        path: PathBuf,
        /// Everything that is missing, misshapen or unused.
        report: Box<LoadReport>,
    },
    /// A weight that is not a number.
    #[error("{}: tensor `{tensor}` holds NaN or infinity; the checkpoint is damaged", .path.display())]
    NotFinite {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tokenizer file that `tokenizers` cannot use.
    #[error("{}: {source}", .path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Cause,
    },
    /// Text that could not be encoded as tokens, or tokens that could not be decoded.
    #[error("the tokenizer failed: {0}")]
    Tokenize(#[source] Cause),
    /// A tokenizer with more tokens than the model has embeddings.
    #[error(
        "the tokenizer has {tokens} tokens but the model only {vocab} embeddings: `{example}` would \
         have none; the tokenizer belongs to another model"
    )]
    Vocabulary {
        /// The tokenizer's size.
        tokens: usize,
        /// The model's.
        vocab: usize,
        /// A token without an embedding.
        example: String,
    },
    /// An adapter that cannot be read, or does not go with the model.
    #[error("{}: {reason}", .path.display())]
    #[non_exhaustive]
    Adapter {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
        /// What is at fault.
        kind: ErrorKind,
    },
    /// A picture that could not be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A sound that could not be read, or prepared.
    #[cfg(feature = "sound")]
    #[error(transparent)]
    Sound(#[from] SoundError),
}

impl IoError {
    /// What is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoFolder(_)
            | Self::NotCached { .. }
            | Self::NoRevision { .. }
            | Self::MissingFile { .. }
            | Self::MissingShard { .. }
            | Self::GitLfs { .. } => ErrorKind::NotFound,
            #[cfg(feature = "hub")]
            Self::Hub { kind, .. } => *kind,
            Self::Read { source, .. } => ErrorKind::of_read(source),
            Self::Write { .. } | Self::OntoInput { .. } => ErrorKind::Unwritable,
            Self::Json { .. }
            | Self::NotPacked { .. }
            | Self::Safetensors { .. }
            | Self::Pickle { .. }
            | Self::ShardPath { .. }
            | Self::NotFinite { .. }
            | Self::Tokenizer { .. } => ErrorKind::Malformed,
            #[cfg(feature = "lavis")]
            Self::Lavis { .. } => ErrorKind::Malformed,
            #[cfg(feature = "lavis")]
            Self::LavisNeeds { .. } => ErrorKind::Missing,
            Self::NoTensor { .. } => ErrorKind::Missing,
            Self::Weights { report, .. } if !report.missing.is_empty() => ErrorKind::Missing,
            Self::Weights { .. }
            | Self::ShardContent { .. }
            | Self::DuplicateTensor { .. }
            | Self::Vocabulary { .. }
            | Self::Kind { .. } => ErrorKind::Mismatch,
            Self::Config { source, .. } => source.kind(),
            Self::ModelType { .. }
            | Self::Architecture { .. }
            | Self::Dtype { .. }
            | Self::TensorForm { .. }
            | Self::Quantized { .. } => ErrorKind::Unsupported,
            Self::Tokenize(_) => ErrorKind::Invalid,
            Self::Adapter { kind, .. } => *kind,
            Self::Image(error) => error.kind(),
            #[cfg(feature = "sound")]
            Self::Sound(error) => error.kind(),
        }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn json(path: &Path, key: String, source: serde_json::Error) -> Self {
        // `serde_path_to_error` writes the root as a dot.
        let key = match key.as_str() {
            "." | "?" => String::new(),
            _ => key,
        };
        Self::Json {
            path: path.to_path_buf(),
            key,
            source: Cause::new(plain::json(&source)),
        }
    }

    pub(crate) fn safetensors(path: &Path, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Safetensors {
            path: path.to_path_buf(),
            source: Cause::new(error),
        }
    }

    pub(crate) fn tokenizer(path: PathBuf, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Tokenizer {
            path,
            source: Cause::new(error),
        }
    }

    pub(crate) fn tokenize(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Tokenize(Cause::new(error))
    }
}

/// `key: `, or nothing where there is no key.
fn prefix(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    }
}
