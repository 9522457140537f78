//! Trains BLIP-2, and BLIP-1: any part of it, or low-rank adapters (LoRA) on a base that stays as it is, even in
//! 8 bits.
//!
//! To run a model, use `blip2-core`; this crate makes one. It works on the same types: a model is
//! loaded through [`Training`], which knows each parameter by its Hugging Face name; [`AdamW`] moves
//! what is trained, step after step; and what comes out is written as a checkpoint or an adapter
//! that `transformers` and PEFT load.
//!
//! ```no_run
//! use blip2_core::{CheckpointFolder, model::Blip2ForConditionalGeneration};
//! use blip2_train::{
//!     AdamW, LoraConfig, Training,
//!     objective::{Batch, language_model_loss},
//! };
//!
//! # fn train(batches: Vec<Batch>) -> Result<(), blip2_train::TrainError> {
//! let folder = CheckpointFolder::open("models/blip2-opt-2.7b")?;
//! let lora = LoraConfig::new(16, ["q_proj", "k_proj"]).with_alpha(32.0);
//! let training = Training::of(&folder)?.lora(lora, 0)?;
//! let mut trained = training.load()?;
//! let mut optimizer = AdamW::default();
//! for batch in &batches {
//!     let loss = language_model_loss(trained.model(), batch, 0.0)?;
//!     let gradients = trained.gradients(loss)?;
//!     optimizer.step(&mut trained, gradients.clipped(1.0), 1e-4)?;
//! }
//! trained.save_lora("adapters/mine")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `mpi` trains as one of several processes over MPI, which must be installed.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod answering;
mod checkpoint;
mod drawn;
mod error;
mod evaluate;
mod files;
mod first_stage;
mod fresh;
mod gradients;
mod group;
mod kind;
mod lora;
mod names;
pub mod objective;
mod optimizer;
mod recall;
mod run;
mod schedule;
pub mod scores;
mod scoring;
mod state;
mod tensorboard;
mod trained;
mod training;
mod writes;

pub use answering::{Answering, Validation};
pub use blip2_kernels::{ActivationFormat, recompute::Recompute};
pub use checkpoint::merge;
pub use error::{Refusal, TrainError};
pub use evaluate::{Answered, Evaluator, Unanswered, answer_all, choose_all, evaluate_all};
pub use files::{FolderLock, clear_partial, write_file};
pub use first_stage::FirstStage;
pub use fresh::FreshWeights;
pub use gradients::Gradients;
#[cfg(feature = "mpi")]
pub use group::Mpi;
pub use group::{Alone, Group, agreed};
pub use lora::{Adapter, Lora, LoraConfig};
pub use names::{NamePattern, Named, Names, Selection, nearest_name};
pub use optimizer::{AdamW, Decay};
pub use recall::{Recall, RecallScores, Recalled};
pub use run::{
    At, Average, Ended, Losses, Metrics, Objective, Outcome, Recipe, Record, Score, Scores, Shared,
    Unfinished, Watch, told_by, train, train_together,
};
pub use schedule::{Constant, Exponential, Schedule, WarmupCosine};
pub use scoring::{Evaluation, Kind, Scoring};
pub use state::Progress;
pub use tensorboard::TensorBoard;
pub use trained::{TrainPlan, Trained, device_of};
pub use training::Training;
pub use writes::{Responds, Writes};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
