//! The Q-Former of BLIP-2: a BERT whose learned query tokens gather, by cross-attention, what an
//! encoded picture shows (Li et al., 2023, section 3.1), on [Burn](https://burn.dev) tensors.
//!
//! Use this crate alone to condense any encoder's output to a few dozen vectors. To ask questions
//! about pictures, use `blip2-core`.
//!
//! ```
//! use blip2_qformer::burn::tensor::{Device, Tensor};
//! use blip2_qformer::{
//!     Blip2QFormerConfig, QFormer, QFormerInput, QueryTokens, RandomWeights, Weights,
//! };
//!
//! let config = Blip2QFormerConfig::default()
//!     .with_hidden_size(24)
//!     .with_num_hidden_layers(2)
//!     .with_num_attention_heads(2)
//!     .with_intermediate_size(48)
//!     .with_encoder_hidden_size(32);
//! let device = Device::flex();
//! let source = RandomWeights::new(0, 0.02); // or a checkpoint, by `blip2-io`
//! let weights = Weights::new(&source, &device);
//! let queries = QueryTokens::load(8, config.hidden_size, &weights);
//! let qformer = QFormer::load(&config, &weights.at("qformer"))?;
//!
//! let image_embeds = Tensor::<3>::zeros([1, 17, 32], &device);
//! let output = qformer.forward(QFormerInput::new(queries.expand(1)).image(image_embeds))?;
//! assert_eq!(output.last_hidden_state.dims(), [1, 8, 24]);
//! # Ok::<(), blip2_qformer::QFormerError>(())
//! ```
//!
//! # Text
//!
//! With `use_qformer_text_input` each layer has a second branch, for text. Queries and text see one
//! another in self-attention, but only queries see the picture, and each has an MLP of its own:
//!
//! ```
//! # use blip2_qformer::burn::tensor::{Device, Tensor};
//! # use blip2_qformer::{
//! #     Blip2QFormerConfig, QFormer, QFormerInput, QueryTokens, RandomWeights, Weights,
//! # };
//! # let device = Device::flex();
//! # let source = RandomWeights::new(0, 0.02);
//! # let weights = Weights::new(&source, &device);
//! # let config = Blip2QFormerConfig::default()
//! #     .with_hidden_size(24)
//! #     .with_num_hidden_layers(2)
//! #     .with_num_attention_heads(2)
//! #     .with_intermediate_size(48)
//! #     .with_encoder_hidden_size(32);
//! let config = config.with_use_qformer_text_input(true);
//! let queries = QueryTokens::load(8, config.hidden_size, &weights);
//! let qformer = QFormer::load(&config, &weights.at("qformer"))?;
//!
//! let (image, text) = (Tensor::zeros([1, 17, 32], &device), Tensor::zeros([1, 5, 24], &device));
//! let input = QFormerInput::new(queries.expand(1)).text(text.clone()).image(image);
//! assert_eq!(qformer.forward(input)?.last_hidden_state.dims(), [1, 8 + 5, 24]);
//!
//! let output = qformer.forward(QFormerInput::text_only(text))?; // a plain BERT
//! assert_eq!(output.last_hidden_state.dims(), [1, 5, 24]);
//! # Ok::<(), blip2_qformer::QFormerError>(())
//! ```
//!
//! # Features
//!
//! `flex`, which is on by default, computes on the CPU with this project's kernels; without it
//! nothing computes until another backend is chosen: `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`,
//! `rocm`.
//!
//! # What it does not do
//!
//! It reads no files and knows no tokenizer: text comes as embeddings, which [`TextEmbeddings`]
//! makes of token ids. Positions are absolute, and
//! any other `position_embedding_type` is refused. There is no dropout, which only matters for
//! training; its rates are kept in the configuration.
//!
//! # Numbers
//!
//! Weights and computation are always `f32`, as the reference keeps them even in half precision.
//! Hidden states and attention maps agree with `transformers` 5.23 to 1e-4 or better, which the
//! tests hold. A position that is masked out has no influence at all, to the bit.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod input;
mod layer;
mod model;
mod query;
mod text;

pub use blip2_io::{CheckpointFolder, CheckpointWeights, config::Blip2QFormerConfig};
pub use blip2_kernels::{Keep, Precision, RandomWeights, Weights};
pub use error::QFormerError;
pub use input::QFormerInput;
pub use model::{QFormer, QFormerOutput};
pub use query::QueryTokens;
pub use text::TextEmbeddings;
pub use {blip2_io as io, burn};

/// The examples of the README, run with those of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
