//! The models as one composes them from the parts, on tensors; the pipeline stands on these.

mod generation;
mod rows;

pub use blip2_lm::LanguageModel;
pub(crate) use generation::has_tied_head;
pub use generation::{Blip2ForConditionalGeneration, ImageFeatures};
pub use rows::{PaddingSide, PromptRows};
