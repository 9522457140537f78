//! The parity certificate: a checkpoint's every stage against goldens made by `transformers`.
//!
//! To ask a model questions, use `blip2-core`; this crate proves that it runs as in the reference, for
//! whoever converts a checkpoint, adds a model or a device, or asks how far a precision is from `f32`.
//! The program `blip2 verify` prints what it finds.
//!
//! A folder to verify holds `golden.json` and mostly `golden.safetensors` beside a checkpoint, a
//! tokenizer, or pictures, or of a training's first steps, whose checkpoint lies two folders up. Every stage
//! and generation case in them is run and compared;
//! `docs/numerics.md` of the repository describes the format and the tolerances.
//!
//! ```
//! use blip2_core::Device;
//! use blip2_verify::{VerifyOptions, verify};
//!
//! for report in verify("../fixtures/blip2_opt", &VerifyOptions::new(Device::flex()))? {
//!     println!("{report}");
//!     assert!(report.passed());
//! }
//! # Ok::<(), blip2_verify::VerifyError>(())
//! ```
//!
//! # Features
//!
//! `speech` (default) knows Granite Speech. `flex` (default, the CPU), `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda` and `rocm` are the devices that
//! [`VerifyOptions::on`] knows, as in `blip2-core`.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod blip1;
mod case;
mod clip;
mod compare;
mod error;
mod facts;
mod features;
mod folder;
mod generation;
mod golden;
mod ids;
mod images;
mod loss;
mod options;
mod prompts;
#[cfg(feature = "speech")]
mod recordings;
mod report;
mod retrieval;
mod rows;
#[cfg(feature = "speech")]
mod speech;
mod stages;
mod tokenizers;
mod training;
mod verifier;

pub use error::VerifyError;
pub use folder::verify;
pub use options::VerifyOptions;
pub use report::{Check, Outcome, Report, Unchecked};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
