//! Everything that BLIP-2 reads: checkpoint folders, weights, tokenizers, pictures and
//! videos.
//!
//! Use this crate to open a Hugging Face checkpoint from a program of your own, or for its image
//! preprocessing, which equals Pillow's to the bit; to run BLIP-2, use `blip2-core`.
//!
//! | part | what it reads |
//! |---|---|
//! | [`CheckpointFolder`] | the folder as a whole |
//! | [`config`] | `config.json` and the small files beside it |
//! | [`Checkpoint`], [`CheckpointWeights`] | `model.safetensors` or its shards, memory-mapped |
//! | [`Tokenizer`] | `tokenizer.json` and what belongs to it |
//! | [`video`] | frames of videos, evenly chosen |
//! | `dataset` (with the feature of that name) | pictures with questions or captions, and their batches |
//! | `lavis` (with the feature of that name) | LAVIS's checkpoints, which it writes as folders |
//! | [`image`] | pictures, and what is done to them before a model sees them |
//!
//! ```
//! use blip2_io::image::{ImageProcessor, ImageProcessorConfig};
//!
//! let processor = ImageProcessor::new(ImageProcessorConfig::default())?;
//! let picture = image::RgbImage::new(640, 427);
//! let pixels = processor.process(&picture)?;
//! assert_eq!(pixels.shape(), [1, 3, 224, 224]);
//! # Ok::<(), blip2_io::IoError>(())
//! ```
//!
//! # Untrusted files
//!
//! Headers, offsets, shapes and formats of weights are checked before use, an index may not lead
//! out of its folder, and no code runs that a file may hold: LAVIS's pickles are only parsed. Pictures are decoded within limits
//! that are checked first. Nothing is downloaded and nothing is printed.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod checkpoint;
pub mod config;
#[cfg(feature = "dataset")]
pub mod dataset;
mod error;
mod files;
mod folder;
pub mod image;
#[cfg(feature = "lavis")]
pub mod lavis;
mod tokenizer;
pub mod video;

pub use checkpoint::{Checkpoint, CheckpointWeights, LoadReport};
pub use error::IoError;
pub use files::map_file;
pub use folder::CheckpointFolder;
pub use tokenizer::{PaddingSide, TokenBatch, Tokenizer};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
