//! How the members of BLIP-1 are loaded.

use std::sync::Arc;

use blip2_io::{
    CheckpointFolder,
    config::{BlipConfig, ModelKind},
};
use blip2_kernels::Weights;
use blip2_lm::generate::GenerationConfig;

use super::{BlipAnswerer, BlipCaptioner, BlipRetrieval};
use crate::{
    error::Blip2Error,
    load::{IGNORABLE, Load, NamedAdapter, Opened, Pictures, Settings, Takes},
    memory::{MemoryLimit, MemoryPlan, MemoryPrediction, Workload},
    model::{BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering},
    precision::PrecisionPlan,
    text::BlipTexts,
};

const WRITING: Takes = Takes {
    template: false,
    speculative: false,
    ..Takes::ALL
};

const COMPARING: Takes = Takes {
    generation: false,
    ..WRITING
};

macro_rules! load {
    ($member:ident, $model:ty, $kind:expr, $takes:expr) => {
        impl Load for $member {
            type Config = BlipConfig;
            type Model = $model;
            type Texts = Arc<BlipTexts>;
            type Pictures = Pictures;
            type Memory = MemoryLimit;

            const NAME: &'static str = stringify!($member);
            const KINDS: &'static [ModelKind] = &[$kind];
            const TAKES: Takes = $takes;
            const IGNORABLE: Option<&'static [&'static str]> = Some(&IGNORABLE);

            fn build_model(
                config: &BlipConfig,
                weights: &Weights<'_>,
                precision: PrecisionPlan,
            ) -> Result<$model, Blip2Error> {
                <$model>::build(config, weights, precision)
            }

            fn read_texts(
                folder: &CheckpointFolder,
                config: &BlipConfig,
                _: &Settings,
            ) -> Result<Arc<BlipTexts>, Blip2Error> {
                Ok(Arc::new(BlipTexts::new(config, folder.tokenizer()?)?))
            }

            fn read_pictures(
                folder: &CheckpointFolder,
                _: &BlipConfig,
                settings: &Settings,
            ) -> Result<Pictures, Blip2Error> {
                Pictures::of(folder, settings, 1)
            }

            fn complete(
                _: &CheckpointFolder,
                config: &BlipConfig,
                generation: &mut GenerationConfig,
            ) -> Result<(), Blip2Error> {
                if generation.eos_token_id.is_empty() {
                    let end = config.text_config.sep_token_id;
                    generation.eos_token_id = end.into_iter().collect();
                }
                Ok(())
            }

            fn memory(
                opened: &Opened<BlipConfig>,
                settings: &Settings,
                pictures: &Pictures,
                given: bool,
            ) -> Result<MemoryLimit, Blip2Error> {
                limit(opened, $kind, settings, pictures, given)
            }
        }

        impl $member {
            /// What the model takes in memory, and what a call takes beside it.
            pub fn memory(&self) -> &MemoryPlan {
                self.inner.memory.plan()
            }

            /// Refuses work that would take more memory than the model may, as each call does by itself: for
            /// a program that lays out large inputs before it calls.
            ///
            /// # Errors
            ///
            /// [`Blip2Error::Memory`], saying what would fit.
            pub fn check_memory(&self, work: &Workload) -> Result<(), Blip2Error> {
                self.inner.memory.check(work, MemoryPrediction::peak)
            }
        }
    };
}

/// What a model may take; refuses one that would not fit unless that is `given` already.
fn limit(
    opened: &Opened<BlipConfig>,
    kind: ModelKind,
    settings: &Settings,
    pictures: &Pictures,
    given: bool,
) -> Result<MemoryLimit, Blip2Error> {
    let (config, device) = (&opened.config, &opened.device);
    let checkpoint = opened.origin.checkpoint();
    let plan = MemoryPlan::of_blip1_on(config, kind, checkpoint, settings.precision, device)?
        .with_adapters(opened.adapters.iter().map(NamedAdapter::adapter));
    let memory = MemoryLimit::of_settings(plan, settings.memory_limit, device);
    let work = Workload::default().with_image_size(pictures.size());
    if !given {
        memory.check(&work, MemoryPrediction::peak)?;
    }
    Ok(memory)
}

load!(
    BlipAnswerer,
    BlipForQuestionAnswering,
    ModelKind::BlipAnswer,
    WRITING
);
load!(
    BlipCaptioner,
    BlipForConditionalGeneration,
    ModelKind::BlipCaption,
    WRITING
);
load!(
    BlipRetrieval,
    BlipForImageTextRetrieval,
    ModelKind::BlipRetrieval,
    COMPARING
);
