//! The models as one composes them from the parts, on tensors; the pipelines stand on these.

mod blip1;
mod embeds;
mod features;
mod generation;
mod halves;
mod pretraining;
mod retrieval;
#[cfg(feature = "speech")]
mod speech;

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
#[cfg(feature = "speech")]
pub(crate) use speech::load_language_model;
#[cfg(feature = "speech")]
pub use speech::{GraniteSpeechForConditionalGeneration, SoundFeatures, SpeechProjector};

pub use crate::text::{PaddingSide, PromptRows};

/// Shows a model's name and none of its numbers.
macro_rules! short_debug {
    ($($model:ident)*) => {$(
        impl std::fmt::Debug for $model {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($model)).finish_non_exhaustive()
            }
        }
    )*};
}
short_debug!(
    Blip2ForConditionalGeneration Blip2ForImageTextRetrieval Blip2ForPretraining
    Blip2TextModelWithProjection Blip2VisionModelWithProjection
    BlipForConditionalGeneration BlipForImageTextRetrieval BlipForQuestionAnswering
);
