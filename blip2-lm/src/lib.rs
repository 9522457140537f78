//! The language models of BLIP-2 and InstructBLIP, OPT, T5 (Flan-T5) and LLaMA (Vicuna), BLIP-1's
//! text model, and one decoding engine for all: greedy search, beam search, sampling, constraints,
//! streaming.
//!
//! Use this crate alone to generate text from token ids or embeddings, or its engine
//! ([`generate`]) for a model of your own; to ask questions about pictures, use `blip2-core`.
//!
//! ```
//! use blip2_io::config::OptConfig;
//! use blip2_kernels::{RandomWeights, Weights};
//! use blip2_lm::{GenerationConfig, Generator, opt::OptForCausalLm};
//! use burn::tensor::Device;
//!
//! let config = OptConfig {
//!     vocab_size: 100,
//!     hidden_size: 32,
//!     word_embed_proj_dim: 32,
//!     num_hidden_layers: 2,
//!     num_attention_heads: 4,
//!     ffn_dim: 64,
//!     max_position_embeddings: 64,
//!     ..Default::default()
//! };
//! let device = Device::flex();
//! let source = RandomWeights::new(0, 0.1); // or a checkpoint, by `blip2-io`
//! let model = OptForCausalLm::load(&config, &Weights::new(&source, &device))?;
//!
//! let prompts = vec![vec![2, 17, 42], vec![2, 8, 9]];
//! let embeds = model.embed(&prompts)?;
//! let mut session = model.start(embeds, &[vec![true; 3], vec![true; 3]], 5)?;
//! let generation = GenerationConfig { max_new_tokens: Some(5), ..Default::default() };
//! let results = Generator::new(generation)?.generate(&mut session, &prompts)?;
//! assert_eq!(results[0][0].tokens.len(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! There is no dropout, which only matters for training.

mod batch;
pub mod blip_text;
mod causal;
mod error;
pub mod generate;
mod language_model;
pub mod llama;
pub mod opt;
mod options;
mod session;
pub mod t5;

pub use error::LmError;
pub use generate::{
    DecodeSession, FinishReason, GenerateError, Generated, GenerationConfig, Generator, Logits,
};
pub use language_model::LanguageModel;
pub use options::LmOptions;
pub use session::Session;

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
