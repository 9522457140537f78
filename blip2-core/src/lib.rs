//! BLIP-2 in Rust: a picture and a question go in, an answer grounded in the picture comes out.
//!
//! [`Blip2Pipeline`] loads a Hugging Face checkpoint folder of BLIP-2 (with OPT or Flan-T5) and
//! gives the same numbers as `transformers`, without Python, on the CPU or, through wgpu, on a GPU.
//!
//! ```no_run
//! use blip2_core::{Blip2Pipeline, image};
//!
//! let blip2 = Blip2Pipeline::from_pretrained("models/blip2-opt-2.7b")?;
//! let image = image::open("beach.jpg")?;
//! println!("{}", blip2.caption(&image)?);
//! println!("{}", blip2.answer(&image, "How many dogs are there?")?);
//!
//! for piece in blip2.stream(&image, "Question: what is this? Answer:")? {
//!     print!("{}", piece?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | for | use |
//! |---|---|
//! | answers, captions, raw prompts, streams, batches | [`Blip2Pipeline`] |
//! | videos (InstructBLIP-Video) | [`Blip2Pipeline::open_video`], [`Video`] |
//! | many questions about one picture | [`Blip2Pipeline::look`], [`Seen`] |
//! | beams, sampling, penalties, stop strings | [`GenerationConfig`] in [`Options`] |
//! | constraints on the next token | [`Options::constraint`] |
//! | how well pictures and texts go together | [`Blip2Retrieval`] |
//! | BLIP-1, the first model of the name | [`BlipAnswerer`], [`BlipCaptioner`], [`BlipRetrieval`] |
//! | pictures found by a text or by another picture | [`PhotoIndex`] |
//! | the model on tensors, stage by stage | [`model`] |
//! | what a checkpoint holds and needs | [`mod@inspect`] |
//! | how much memory a model and a call take | [`memory`] |
//! | full size without a download, with random weights | [`Preset`], [`Blip2Pipeline::builder_random`] |
//! | proof that a checkpoint runs as in the reference | [`mod@verify`] |
//!
//! # Features
//!
//! | feature | what is lost without it |
//! |---|---|
//! | `flex` (default) | the pure-Rust CPU backend, with SIMD and threads |
//! | `ndarray` | the older CPU backend, deprecated upstream; slower |
//! | `wgpu` | GPUs, through WGSL shaders on Vulkan, Metal, DirectX 12 or OpenGL |
//! | `vulkan` | GPUs through SPIR-V shaders; not for software drivers |
//! | `metal` | Apple GPUs through Metal shaders |
//! | `webgpu` | WebGPU |
//! | `lavis` | LAVIS's checkpoints, which it writes as Hugging Face folders |
//!
//! # Pictures from strangers
//!
//! [`open_image`] decodes within limits that are checked before anything is allocated, and every
//! fault of a picture, a checkpoint or an argument is a typed [`Blip2Error`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod blip1;
mod byte_tokenizer;
mod device;
mod error;
mod family;
pub mod inspect;
pub mod memory;
pub mod model;
mod pack;
pub mod photo_index;
mod pipeline;
mod precision;
mod preset;
mod retrieval;
pub mod verify;

use std::path::Path;

pub use blip1::{BlipAnswerer, BlipBuilder, BlipCaptioner, BlipMember, BlipRetrieval};
#[cfg(feature = "lavis")]
pub use blip2_io::lavis;
pub use blip2_io::{
    Checkpoint, CheckpointFolder, CheckpointWeights, LoadReport, checkpoint,
    config::{self, Ability, Blip2Config, ModelKind, TextConfig},
    preprocessing, video,
    video::Video,
};
pub use blip2_kernels::{Precision, Weights};
pub use blip2_lm::generate::{self, CancelToken, FinishReason, GenerationConfig};
pub use burn::{self, tensor::Device};
pub(crate) use device::default_device;
pub use device::{device_by_name, device_names};
pub use error::Blip2Error;
pub use family::opened_with;
pub use image;
pub use pack::pack;
pub use photo_index::PhotoIndex;
pub use pipeline::{
    Answer, AnswerRows, AnswerStream, Blip2Pipeline, Blip2PipelineBuilder, EncodedImage, Grammar,
    LabeledRows, Options, Picture, RankOptions, Ranked, Seen, Template, Timings, Typed,
    TypedAnswer,
};
pub use precision::PrecisionPlan;
pub use preset::{Preset, UnknownPreset};
pub use retrieval::{
    Blip2Retrieval, Blip2RetrievalBuilder, EncodedPhoto, ImageEmbedder, ImageEmbedding, MatchScore,
    TextEmbedder, TextEmbedding, TextRows,
};

/// Decodes a picture file within the default limits, as
/// [`preprocessing::decode_file`] does; transparency is laid over white.
///
/// # Errors
///
/// [`Blip2Error::Image`] naming the file and what is wrong with it.
pub fn open_image(path: impl AsRef<Path>) -> Result<image::RgbImage, Blip2Error> {
    Ok(preprocessing::decode_file(
        path,
        &preprocessing::DecodeOptions::default(),
    )?)
}

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
