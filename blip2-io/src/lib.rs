//! Everything that BLIP-2 reads: checkpoint folders, weights, tokenizers, pictures, videos and
//! sounds.
//!
//! Use this crate to open a Hugging Face checkpoint from a program of your own, or for its image
//! preprocessing, which equals Pillow's to the bit; to run BLIP-2, use `blip2-core`.
//!
//! | part | what it reads | feature |
//! |---|---|---|
//! | [`CheckpointFolder`] | the folder as a whole | `checkpoint` |
//! | [`config`] | `config.json` and the small files beside it | `checkpoint` |
//! | [`Checkpoint`], [`CheckpointWeights`] | `model.safetensors` or its shards, memory-mapped; `pytorch_model.bin` | `checkpoint` |
//! | [`Adapter`] | adapters that PEFT saved | `checkpoint` |
//! | [`Tokenizer`] | `tokenizer.json` and what belongs to it, or what was published before it | `checkpoint` |
//! | [`preprocessing`] | pictures, and what is done to them before a model sees them | `preprocessing` |
//! | [`video`] | frames of videos, evenly chosen | `preprocessing` |
//! | `sound` | WAV files, resampling, mel features | `sound` |
//! | `dataset` | pictures with questions or captions, and their batches | `dataset` |
//! | [`hub`] | models that Python has downloaded, and downloads | `checkpoint`, `hub` |
//! | [`vectors`] | feature vectors in NumPy files and tables, and the search among them | `checkpoint` |
//! | `tables` | tables of pictures, in and out: Parquet, JSON lines, CSV | `tables` |
//! | `lavis` | LAVIS's checkpoints, which it writes as folders | `lavis` |
//!
//! ```
//! use blip2_io::{
//!     image::RgbImage,
//!     preprocessing::{ImageProcessor, ImageProcessorConfig},
//! };
//!
//! let processor = ImageProcessor::new(ImageProcessorConfig::default())?;
//! let picture = RgbImage::new(640, 427);
//! let pixels = processor.process(&picture)?;
//! assert_eq!(pixels.shape(), [1, 3, 224, 224]);
//! # Ok::<(), blip2_io::preprocessing::ImageError>(())
//! ```
//!
//! # Features
//!
//! | feature | what is lost without it |
//! |---|---|
//! | `checkpoint` (default) | checkpoint folders, configurations, weights, tokenizers, and pixel values as tensors |
//! | `flex` (default) | the CPU backend and the kernels that compute on it, for a program whose only crate this is |
//! | `preprocessing` (part of the others) | pictures and videos |
//! | `dataset` | data sets |
//! | `tables` | tables, and Parquet |
//! | `sound` | WAV files and mel features, for Granite Speech |
//! | `lavis` | LAVIS's `.pth` files |
//! | `jpeg2000` | pictures in JPEG 2000 |
//! | `hub` | downloads from the Hugging Face hub; what Python has downloaded is found without it |
//! | `urls` | pictures by their URLs |
//!
//! `default-features = false, features = ["preprocessing"]` decodes and resizes pictures without
//! building Burn or `tokenizers`; so does `dataset`, and `sound` for sounds.
//!
//! # Untrusted files
//!
//! Headers, offsets, shapes and formats of weights are checked before use, an index may not lead
//! out of its folder, and no code runs that a file may hold: PyTorch's pickles are only parsed.
//! Of a tokenizer, everything that the library beneath takes on trust is looked at first.
//! Pictures and sounds are decoded within limits that are checked first. Pipes and devices are never opened.
//! Nothing is printed, and nothing is downloaded but by `hub::Download`.
//!
//! # Errors
//!
//! Every error names the file, tensor or key at fault and the way out. By [`ErrorKind`] a program
//! tells faults apart without matching on them one by one.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "preprocessing", feature = "sound"))]
#[macro_use]
mod setters;

#[cfg(feature = "checkpoint")]
mod adapter;
#[cfg(feature = "checkpoint")]
mod adapter_files;
#[cfg(feature = "checkpoint")]
mod apart;
#[cfg(feature = "checkpoint")]
mod cached;
#[cfg(feature = "checkpoint")]
pub mod checkpoint;
#[cfg(feature = "checkpoint")]
pub mod config;
#[cfg(feature = "dataset")]
pub mod dataset;
#[cfg(feature = "checkpoint")]
mod error;
#[cfg(any(feature = "preprocessing", feature = "sound"))]
mod fault;
#[cfg(feature = "checkpoint")]
mod files;
#[cfg(feature = "checkpoint")]
mod folder;
#[cfg(feature = "checkpoint")]
pub mod hub;
#[cfg(feature = "lavis")]
pub mod lavis;
#[cfg(any(feature = "preprocessing", feature = "sound"))]
mod lfs;
#[cfg(any(feature = "checkpoint", feature = "tables"))]
mod lock;
#[cfg(feature = "checkpoint")]
mod names;
#[cfg(any(feature = "checkpoint", feature = "tables"))]
mod new_file;
#[cfg(feature = "checkpoint")]
mod plain;
#[cfg(feature = "preprocessing")]
pub mod preprocessing;
#[cfg(any(feature = "preprocessing", feature = "sound"))]
mod regular;
#[cfg(feature = "urls")]
pub mod remote;
#[cfg(feature = "checkpoint")]
mod report;
#[cfg(feature = "sound")]
pub mod sound;
#[cfg(feature = "tables")]
pub mod tables;
#[cfg(feature = "checkpoint")]
mod tokenizer;
#[cfg(feature = "checkpoint")]
mod torch;
#[cfg(feature = "dataset")]
mod unicode;
#[cfg(feature = "checkpoint")]
pub mod vectors;
#[cfg(feature = "preprocessing")]
pub mod video;

#[cfg(any(feature = "preprocessing", feature = "sound"))]
pub use fault::{Cause, ErrorKind};
#[cfg(feature = "preprocessing")]
pub use image;
#[cfg(any(feature = "preprocessing", feature = "sound"))]
pub use regular::open_regular;
#[cfg(feature = "dataset")]
pub use unicode::is_utf16;
#[cfg(feature = "checkpoint")]
pub use {
    adapter::{Adapter, AdapterBias, AdapterConfig, LayerPattern, TargetModules},
    apart::{check_apart, check_folders_apart, check_keeps},
    blip2_kernels::{self as kernels, Bias, Weights},
    burn,
    cached::{CachedModel, cached_models},
    checkpoint::{Checkpoint, CheckpointWeights},
    error::IoError,
    files::map_file,
    folder::CheckpointFolder,
    report::LoadReport,
    tokenizer::{PaddingSide, TokenBatch, Tokenizer},
};
#[cfg(any(feature = "checkpoint", feature = "tables"))]
pub use {
    lock::FileLock,
    new_file::{NewFile, write_file},
};

#[doc = include_str!("../README.md")]
#[cfg(all(doctest, feature = "checkpoint"))]
struct Readme;
