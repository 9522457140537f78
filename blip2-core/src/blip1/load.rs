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
    load::{IGNORABLE, Load, Opened, Pictures, Settings, Takes},
    model::{BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering},
    precision::PrecisionPlan,
    text::BlipTexts,
};

const WRITING: Takes = Takes {
    template: false,
    memory_limit: false,
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
            type Memory = ();

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
                _: &Opened<BlipConfig>,
                _: &Settings,
                _: &Pictures,
                _: bool,
            ) -> Result<(), Blip2Error> {
                Ok(())
            }
        }
    };
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
