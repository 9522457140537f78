//! How much memory a model takes, before it takes it.
//!
//! A [`MemoryPlan`] is made from a configuration alone, or from the headers of a checkpoint, and
//! predicts the peak of a process that runs a given [`Workload`]: what the weights take as they are
//! held, and the largest that any stage takes beside them. A pipeline refuses a model or a batch
//! that would not fit before it allocates, see
//! [`memory_limit`](crate::Builder::memory_limit). On a GPU it is the device's memory that is
//! predicted, and what is larger in one piece than the device's largest buffer is refused, too.
//!
//! ```
//! use blip2_core::{Precision, Preset, memory::{MemoryPlan, Workload}};
//!
//! let plan = MemoryPlan::new(&Preset::Blip2Opt2_7b.config(), Precision::Bf16)?;
//! let one = plan.predict(&Workload::default()).peak();
//! let many = plan.predict(&Workload::default().with_batch(16).with_beams(5)).peak();
//! assert!(one > 7_500_000_000 && many > one);
//! # Ok::<(), blip2_core::Blip2Error>(())
//! ```

mod activations;
mod blip1;
mod explained;
mod limit;
pub mod machine;
mod pieces;
mod plan;
mod planned;
#[cfg(feature = "speech")]
mod speech;

use blip2_kernels::setters;

pub use crate::fit::{Fit, NotEnoughMemory};
pub(crate) use limit::MemoryLimit;
pub(crate) use plan::{DRAFT, belongs};
pub use plan::{MemoryPlan, MemoryPrediction};

/// What a model is asked to do, as far as its memory goes.
///
/// ```
/// use blip2_core::memory::Workload;
///
/// let batch = Workload::default().with_batch(8).with_beams(5).with_new_tokens(50);
/// assert_eq!(batch.prompt_tokens, 8);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// Pictures or sounds, and prompts, that run together. Default 1. More are taken to have prompts of several lengths,
    /// which are padded.
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
    /// The frames that the encoder of sound reads of the longest sound, of which there are 50 a second in
    /// the published models. Default 500: ten seconds.
    pub sound_frames: usize,
}

setters! { Workload {
    with_batch(batch: usize),
    with_prompt_tokens(prompt_tokens: usize),
    with_new_tokens(new_tokens: usize),
    with_beams(beams: usize),
    with_image_size(image_size: impl Into<Option<[usize; 2]>>),
    with_picture_pixels(picture_pixels: usize),
    with_sound_frames(sound_frames: usize),
} }

impl Default for Workload {
    fn default() -> Self {
        Self {
            batch: 1,
            prompt_tokens: 8,
            new_tokens: 20,
            beams: 1,
            image_size: None,
            picture_pixels: 640 * 480,
            sound_frames: 500,
        }
    }
}
