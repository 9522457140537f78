//! The Q-Former of BLIP-2: a BERT whose learned query tokens gather, by cross-attention, what an
//! encoded picture shows (Li et al., 2023, section 3.1).
//!
//! Use this crate alone to condense any encoder's output to a few dozen vectors; to ask questions
//! about pictures, use `blip2-core`.
//!
//! ```
//! use blip2_kernels::{RandomWeights, Weights};
//! use blip2_qformer::{Blip2QFormerConfig, QFormer, QFormerInput, QueryTokens};
//! use burn::tensor::{Device, Tensor};
//!
//! let config = Blip2QFormerConfig {
//!     hidden_size: 24,
//!     num_hidden_layers: 2,
//!     num_attention_heads: 2,
//!     intermediate_size: 48,
//!     encoder_hidden_size: 32,
//!     ..Default::default()
//! };
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
//! Weights and computation are always `f32`, as the reference keeps them even in half precision.
//! There is no dropout, which only matters for training.

mod attention;
mod error;
mod layer;
mod model;
mod query;

pub use blip2_io::config::Blip2QFormerConfig;
pub use error::QFormerError;
pub use model::{QFormer, QFormerInput, QFormerOutput};
pub use query::QueryTokens;
