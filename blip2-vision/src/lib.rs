//! The vision tower of BLIP-2, the ViT of EVA-CLIP, and CLIP's own, on [Burn](https://burn.dev)
//! tensors.
//!
//! Use this crate alone for image features: one vector for each patch, or one for the picture. To
//! ask questions about pictures, use `blip2-core`; to condense the features to a few dozen vectors,
//! `blip2-qformer`.
//!
//! ```
//! use blip2_vision::burn::tensor::{Device, Tensor};
//! use blip2_vision::{Blip2VisionConfig, RandomWeights, VisionModel, VisionOptions, Weights};
//!
//! let config = Blip2VisionConfig::default()
//!     .with_hidden_size(32)
//!     .with_intermediate_size(64)
//!     .with_num_hidden_layers(2)
//!     .with_num_attention_heads(4)
//!     .with_image_size(28)
//!     .with_patch_size(14);
//! let device = Device::flex();
//! let source = RandomWeights::new(0, 0.02); // or a checkpoint, by `blip2-io`
//! let model = VisionModel::load(&config, &Weights::new(&source, &device).at("vision_model"))?;
//!
//! let pixel_values = Tensor::<4>::zeros([1, 3, 28, 28], &device);
//! let output = model.forward(pixel_values, &VisionOptions::default())?;
//! assert_eq!(output.last_hidden_state.dims(), [1, 1 + 2 * 2, 32]); // class token + 2×2 patches
//! assert_eq!(model.pool(output.last_hidden_state).dims(), [1, 32]);
//! # Ok::<(), blip2_vision::VisionError>(())
//! ```
//!
//! A checkpoint's tower, by way of `blip2-io`, which also makes the pixel values:
//!
//! ```no_run
//! use blip2_vision::burn::tensor::Device;
//! use blip2_vision::io::preprocessing::{DecodeOptions, ImageProcessor, decode_file};
//! use blip2_vision::{CheckpointFolder, CheckpointWeights, VisionModel, VisionOptions, Weights};
//!
//! let (folder, device) = (CheckpointFolder::open("models/blip2-opt-2.7b")?, Device::flex());
//! let checkpoint = folder.checkpoint()?;
//! let source = CheckpointWeights::new(&checkpoint);
//! let weights = Weights::new(&source, &device).at("vision_model");
//! let model = VisionModel::load(&folder.config()?.vision_config, &weights)?;
//! source.finish(&[])?; // every weight was there
//!
//! let processor = ImageProcessor::new(folder.image_processor()?)?;
//! let picture = decode_file("beach.jpg", &DecodeOptions::default())?;
//! let pixel_values = processor.process(&picture)?.tensor(&device);
//! let features = model.forward(pixel_values, &VisionOptions::default())?.last_hidden_state;
//! # let _ = features;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Pictures of other sizes
//!
//! A picture of another size than the configured one is refused, because the reference would take
//! a smaller one silently and compute with the wrong positions. With
//! [`interpolate_pos_encoding`](VisionOptions::interpolate_pos_encoding) any size is taken, square
//! or not: the positions are resized to its grid of patches, once for each size, and pixels beyond
//! the last whole patch are left out, both as in `transformers`.
//!
//! # CLIP
//!
//! [`ClipVisionModel`] is the tower of CLIP (`CLIPVisionModel`), which some BLIP-2s were trained
//! with, and [`ClipVisionModelWithProjection`] adds the projection into the space of texts. Layers,
//! patches and interpolation are shared with [`VisionModel`]; three matrices in place of one, the
//! norm before the first layer, and which norm is applied where are CLIP's own.
//!
//! # Features
//!
//! `flex`, which is on by default, computes on the CPU with this project's kernels; without it
//! nothing computes until another backend is chosen: `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`,
//! `rocm`.
//!
//! # What it does not do
//!
//! It reads no files, resizes no pictures and does not normalise them. Of ViTs it knows only these
//! two: pre-norm layers, a class token, learned positions.
//! There is no dropout, not even in training: the published towers were trained without it, and
//! `attention_dropout` is kept in the configuration only.
//!
//! # Numbers
//!
//! Activations are `f32`; matrices are held in the [`Precision`] that [`Weights`] asks for. In `f32` hidden states, attention maps and pooled
//! outputs agree with `transformers` 5.23 to 1e-4 or better, which the tests hold.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod clip;
mod embeddings;
mod encoder;
mod error;
mod interpolate;
mod model;
mod options;
mod position_cache;
mod tower;
mod tower_config;

pub use blip2_io::{
    CheckpointFolder, CheckpointWeights,
    config::{Blip2VisionConfig, ClipVisionConfig},
};
pub use blip2_kernels::{Keep, Precision, RandomWeights, Weights};
pub use clip::{ClipVisionModel, ClipVisionModelWithProjection};
pub use error::VisionError;
pub use model::{VisionModel, VisionOutput};
pub use options::VisionOptions;
pub use {blip2_io as io, burn};

/// The examples of the README, run with those of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
