//! The encoder of Granite Speech, a conformer (Gulati et al., 2020), on [Burn](https://burn.dev) tensors:
//! what a BLIP-2's Q-Former reads of a recording.
//!
//! Use this crate alone for features of speech: one vector for each frame of 20 ms. To have a recording
//! transcribed or questions about it answered, use `blip2-core`; to condense the features to a few vectors a
//! second, `blip2-qformer`.
//!
//! ```
//! use blip2_audio::burn::tensor::{Device, Tensor};
//! use blip2_audio::{ConformerConfig, ConformerEncoder, ConformerOptions, RandomWeights, Weights};
//!
//! let config = ConformerConfig::default()
//!     .with_input_dim(32)
//!     .with_hidden_dim(24)
//!     .with_num_layers(2)
//!     .with_num_heads(3)
//!     .with_context_size(12);
//! let device = Device::flex();
//! let source = RandomWeights::new(0, 0.02); // or a checkpoint, by `blip2-io`
//! let encoder = ConformerEncoder::load(&config, &Weights::new(&source, &device).at("encoder"))?;
//!
//! let input_features = Tensor::<3>::zeros([1, 65, 32], &device); // 1.3 seconds
//! let output = encoder.forward(input_features, &ConformerOptions::default())?;
//! assert_eq!(output.last_hidden_state.dims(), [1, 65, 24]);
//! # Ok::<(), blip2_audio::AudioError>(())
//! ```
//!
//! A checkpoint's encoder, by way of `blip2-io`:
//!
//! ```
//! use blip2_audio::burn::tensor::{Device, Tensor};
//! use blip2_audio::io::Checkpoint;
//! use blip2_audio::{
//!     CheckpointWeights, ConformerConfig, ConformerEncoder, ConformerOptions, Weights,
//! };
//!
//! let folder = "../fixtures/granite_speech";
//! let config: serde_json::Value =
//!     serde_json::from_str(&std::fs::read_to_string(format!("{folder}/config.json"))?)?;
//! let config: ConformerConfig = serde_json::from_value(config["encoder_config"].clone())?;
//!
//! let (checkpoint, device) = (Checkpoint::open(folder)?, Device::flex());
//! let source = CheckpointWeights::new(&checkpoint);
//! let encoder = ConformerEncoder::load(&config, &Weights::new(&source, &device).at("encoder"))?;
//! source.finish(&["num_batches_tracked"])?; // every weight was there
//!
//! let input_features = Tensor::<3>::zeros([1, 65, config.input_dim], &device);
//! let output = encoder.forward(input_features, &ConformerOptions::default())?;
//! assert_eq!(output.last_hidden_state.dims(), [1, 65, config.hidden_dim]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A layer
//!
//! Half a feed-forward module, attention, a convolution, the other half, and a norm. Attention is within
//! blocks of [`context_size`](ConformerConfig::context_size) frames, four seconds in the published
//! checkpoints, with an embedding of each distance (Shaw et al., 2018): time and memory grow with a
//! recording's length, and not with its square. Between the layers in the middle, what the encoder takes
//! a frame's character for is added to the frame.
//!
//! # Batches
//!
//! Recordings of one length can be encoded together, and each is what it is alone. Shorter ones must be
//! filled up, and the reference has no mask for that: the last frames before the silence that was added see
//! it. Whoever wants a recording's numbers to be its own encodes it alone.
//!
//! # Features
//!
//! `flex`, which is on by default, computes on the CPU with this project's kernels; without it
//! nothing computes until another backend is chosen: `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`,
//! `rocm`.
//!
//! # What it does not do
//!
//! It reads no files and makes no mel features. It has no dropout, and its batch norm has the statistics of
//! the checkpoint also where gradients are recorded. It does not decode the characters of its own head.
//!
//! # Numbers
//!
//! Activations are `f32`; matrices, pointwise convolutions among them, are held in the [`Precision`] that
//! [`Weights`] asks for, and depthwise convolutions, norms and the embeddings of distances in `f32`. In `f32` all
//! hidden states agree with `transformers` 5.23 to 1e-4 or better, which the tests hold.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod attention;
mod block;
mod conditioning;
mod convolution;
mod depthwise;
mod encoder;
mod epsilon;
mod error;
mod feed_forward;
mod options;
mod relative;
mod spans;

pub use blip2_io::{CheckpointFolder, CheckpointWeights, config::ConformerConfig};
pub use blip2_kernels::{Precision, RandomWeights, Weights};
pub use encoder::{ConformerEncoder, ConformerOutput};
pub use error::AudioError;
pub use options::ConformerOptions;
pub use {blip2_io as io, burn};

/// The examples of the README, run with those of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
