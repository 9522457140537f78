//! The language models of BLIP-2 and InstructBLIP, OPT, T5 (Flan-T5) and LLaMA (Vicuna), Granite, BLIP-1's
//! text model, and one decoding engine for all: greedy search, beam search, sampling, constraints,
//! streaming.
//!
//! Use this crate alone to generate text from token ids or embeddings, or its engine
//! ([`generate`]) for a model of your own; to ask questions about pictures, use `blip2-core`.
//!
//! ```
//! use blip2_lm::{DecoderLm, GenerationConfig, Generator, OptConfig, RandomWeights, Weights};
//! use blip2_lm::burn::tensor::Device;
//!
//! let config = OptConfig::default()
//!     .with_vocab_size(100)
//!     .with_hidden_size(32)
//!     .with_word_embed_proj_dim(32)
//!     .with_num_hidden_layers(2)
//!     .with_num_attention_heads(4)
//!     .with_ffn_dim(64)
//!     .with_max_position_embeddings(64);
//! let device = Device::flex();
//! let source = RandomWeights::new(0, 0.1); // or a checkpoint, see below
//! let model = DecoderLm::load(&config, &Weights::new(&source, &device))?;
//!
//! let prompts = vec![vec![2, 17, 42], vec![2, 8, 9]];
//! let embeds = model.embed(&prompts)?;
//! let mut session = model.start(embeds, &[vec![true; 3], vec![true; 3]], 5)?;
//! let generation = GenerationConfig::default().with_max_new_tokens(5);
//! let results = Generator::new(generation)?.generate(&mut session, &prompts)?;
//! assert_eq!(results[0][0].tokens.len(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A folder of Hugging Face's
//!
//! A language model's folder, such as `facebook/opt-125m` downloaded, by way of `blip2-io`:
//!
//! ```no_run
//! use blip2_lm::burn::tensor::Device;
//! use blip2_lm::{
//!     CheckpointFolder, CheckpointWeights, GenerationConfig, Generator, LanguageModel, Weights,
//! };
//!
//! let folder = CheckpointFolder::open("models/opt-125m")?;
//! let config = folder.text_config()?;
//! let (checkpoint, device) = (folder.checkpoint()?, Device::flex());
//! let source = CheckpointWeights::new(&checkpoint);
//! let model = LanguageModel::load(&config, &Weights::new(&source, &device))?;
//! source.finish(&["lm_head.weight"])?; // every weight was there; a tied head may be stored twice
//!
//! let prompt = vec![vec![2, 31414, 6, 232]]; // "</s>Hello, world"
//! let embeds = model.embed(&prompt)?;
//! let mut session = model.start(embeds, &[vec![true; 4]], None, 20)?;
//! let ids = Generator::new(GenerationConfig::default())?.generate(&mut session, &prompt)?;
//! println!("{:?}", ids[0][0].tokens);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Sessions that are kept
//!
//! A [`Session`] borrows its model, or holds it: see [`Session::held_by`]. A
//! [`Stream`](generate::Stream) of a session that holds its model is `'static` and `Send`, so that a
//! server can store it.
//!
//! # Features
//!
//! `flex`, which is on by default, computes on the CPU with this project's kernels; without it
//! nothing computes until another backend is chosen: `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`,
//! `rocm`.
//!
//! # What it does not do
//!
//! There is no dropout, which only matters for training.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
pub mod blip_text;
mod causal;
mod decoder;
mod error;
pub mod generate;
mod granite;
mod language_model;
mod llama;
mod mlp;
mod opt;
mod session;
mod steps;
pub mod t5;

pub use blip2_io::{
    Checkpoint, CheckpointFolder, CheckpointWeights, Tokenizer,
    config::{BlipTextConfig, GraniteConfig, LlamaConfig, OptConfig, T5Config, TextConfig},
};
pub use blip2_kernels::{Keep, Precision, RandomWeights, Weights};
pub use decoder::{DecoderLm, DecoderOutput};
pub use error::LmError;
pub use generate::{
    DecodeSession, FinishReason, GenerateError, Generated, GenerationConfig, Generator,
    JoinSession, Logits, RewindSession,
};
pub use language_model::LanguageModel;
pub use session::Session;
pub use {blip2_io as io, burn};

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
