//! The models as one composes them from the parts, on tensors; the pipelines stand on these.

mod blip1;
mod embeds;
mod features;
mod generation;
mod halves;
mod pretraining;
mod retrieval;
mod rows;

pub use blip1::{
    BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering,
};
pub use blip2_lm::{Keep, LanguageModel};
pub use embeds::{EncodedImages, EncodedTexts, ProjectedImages, ProjectedTexts};
pub use features::VisionFeatures;
pub(crate) use generation::has_tied_head;
pub use generation::{Blip2ForConditionalGeneration, ImageFeatures};
pub use halves::{Blip2TextModelWithProjection, Blip2VisionModelWithProjection};
pub use pretraining::{Blip2ForPretraining, Written};
pub use retrieval::Blip2ForImageTextRetrieval;
pub use rows::{PaddingSide, PromptRows};
