//! The models as one composes them from the parts, on tensors; the pipeline stands on these.

mod features;
mod generation;
mod rows;

pub use features::VisionFeatures;
pub use generation::{Blip2ForConditionalGeneration, ImageFeatures};
pub use rows::{PaddingSide, PromptRows};
