//! The vision tower of BLIP-2: the ViT of EVA-CLIP, on Burn tensors.
//!
//! Use this crate alone for image features (one vector for each patch, or one for the picture); to
//! ask questions about pictures, use `blip2-core`. It does not read files: `blip2-io` turns
//! pictures into pixel values and checkpoints into weights.
//!
//! ```
//! use blip2_kernels::{RandomWeights, Weights};
//! use blip2_vision::{Blip2VisionConfig, VisionModel, VisionOptions};
//! use burn::tensor::{Device, Tensor};
//!
//! let config = Blip2VisionConfig {
//!     hidden_size: 32,
//!     intermediate_size: 64,
//!     num_hidden_layers: 2,
//!     num_attention_heads: 4,
//!     image_size: 28,
//!     ..Default::default()
//! };
//! let device = Device::flex();
//! let source = RandomWeights::new(0, 0.02); // or a checkpoint, by `blip2-io`
//! let model = VisionModel::load(&config, &Weights::new(&source, &device).at("vision_model"))?;
//!
//! let pixel_values = Tensor::<4>::zeros([1, 3, 28, 28], &device);
//! let output = model.forward(pixel_values, &VisionOptions::default())?;
//! assert_eq!(output.last_hidden_state.dims(), [1, 1 + 2 * 2, 32]); // class token + 2×2 patches
//! # Ok::<(), blip2_vision::VisionError>(())
//! ```
//!
//! There is no dropout: the published towers were trained without it.

mod embeddings;
mod encoder;
mod error;
mod interpolate;
mod model;

pub use blip2_io::config::Blip2VisionConfig;
pub use error::VisionError;
pub use model::{VisionModel, VisionOptions, VisionOutput};
