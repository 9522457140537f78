//! How much memory a model takes, before it takes it.
//!
//! A [`MemoryPlan`] is made from a configuration alone, or from the headers of a checkpoint, and
//! predicts the peak of a process that runs a given [`Workload`]: what the weights take as they are
//! held, and the largest that any stage takes beside them. A pipeline refuses a model or a batch
//! that would not fit before it allocates, see
//! [`memory_limit`](crate::Builder::memory_limit).
//!
//! ```
//! use blip2_core::{Precision, Preset, memory::{MemoryPlan, Workload}};
//!
//! let plan = MemoryPlan::new(&Preset::Blip2Opt2_7b.config(), Precision::Bf16)?;
//! let one = plan.predict(&Workload::default()).peak();
//! let many = plan.predict(&Workload { batch: 16, beams: 5, ..Workload::default() }).peak();
//! assert!(one > 7_500_000_000 && many > one);
//! # Ok::<(), blip2_core::Blip2Error>(())
//! ```

mod activations;
mod limit;
pub mod machine;
mod plan;

pub use crate::fit::{Fit, NotEnoughMemory};
pub(crate) use limit::MemoryLimit;
pub(crate) use plan::belongs;
pub use plan::{MemoryPlan, MemoryPrediction};

/// What a model is asked to do, as far as its memory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Pictures, and prompts, that run together. Default 1.
    pub batch: usize,
    /// The tokens of the longest prompt, without the picture's. Default 8.
    pub prompt_tokens: usize,
    /// The most tokens to generate. Default 20.
    pub new_tokens: usize,
    /// Sequences that grow for each prompt: beams, or samples. Default 1.
    pub beams: usize,
    /// The height and width that the image encoder sees. Default: as configured.
    pub image_size: Option<[usize; 2]>,
    /// The pixels of the largest picture before it is resized. Default 640 · 480.
    pub picture_pixels: usize,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            batch: 1,
            prompt_tokens: 8,
            new_tokens: 20,
            beams: 1,
            image_size: None,
            picture_pixels: 640 * 480,
        }
    }
}
