//! How a pipeline is loaded.

use std::sync::Arc;

use blip2_io::{
    CheckpointFolder,
    config::{Blip2Config, ModelKind},
};
use blip2_kernels::{RandomWeights, Weights};
use blip2_lm::{LanguageModel, generate::GenerationConfig};

use super::Blip2Pipeline;
use crate::{
    error::Blip2Error,
    family,
    load::{IGNORABLE_OF_ANSWERING, Load, NamedAdapter, Opened, Pictures, Settings, Takes},
    memory::{DRAFT, MemoryLimit, MemoryPlan, MemoryPrediction, Workload},
    model::{Blip2ForConditionalGeneration, has_tied_head},
    precision::PrecisionPlan,
    preset,
    text::Prompts,
};

impl Load for Blip2Pipeline {
    type Config = Blip2Config;
    type Model = Blip2ForConditionalGeneration;
    type Texts = Arc<Prompts>;
    type Pictures = Pictures;
    type Memory = MemoryLimit;

    const NAME: &'static str = "Blip2Pipeline";
    const KINDS: &'static [ModelKind] = &family::ANSWERING;
    const TAKES: Takes = Takes::ALL;
    const IGNORABLE: Option<&'static [&'static str]> = Some(&IGNORABLE_OF_ANSWERING);

    fn build_model(
        config: &Blip2Config,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self::Model, Blip2Error> {
        Self::Model::build(config, weights, precision)
    }

    fn build_draft(
        config: &Blip2Config,
        weights: &Weights<'_>,
    ) -> Result<Option<LanguageModel>, Blip2Error> {
        let weights = weights.with_precision(DRAFT).at("language_model");
        Ok(Some(LanguageModel::load(&config.text_config, &weights)?))
    }

    fn read_texts(
        folder: &CheckpointFolder,
        config: &Blip2Config,
        settings: &Settings,
    ) -> Result<Arc<Prompts>, Blip2Error> {
        let tokenizer = folder.tokenizer()?;
        let reader = match config.model_type.reads_instructions() {
            true => Some(folder.qformer_tokenizer()?),
            false => None,
        };
        let template = settings.template.clone();
        let prompts = Prompts::new(config, tokenizer, reader, folder.prompts()?, template)?;
        Ok(Arc::new(prompts))
    }

    fn read_pictures(
        folder: &CheckpointFolder,
        config: &Blip2Config,
        settings: &Settings,
    ) -> Result<Pictures, Blip2Error> {
        Pictures::of(folder, settings, config.model_type.num_frames())
    }

    fn complete(
        folder: &CheckpointFolder,
        config: &Blip2Config,
        generation: &mut GenerationConfig,
    ) -> Result<(), Blip2Error> {
        if generation.eos_token_id.is_empty() {
            generation.eos_token_id = config.text_config.eos_token_ids().to_vec();
        }
        generation.stop_strings.extend(folder.prompts()?.stop);
        Ok(())
    }

    fn memory(
        opened: &Opened<Blip2Config>,
        settings: &Settings,
        pictures: &Pictures,
        given: bool,
    ) -> Result<MemoryLimit, Blip2Error> {
        let (config, device) = (&opened.config, &opened.device);
        let checkpoint = opened.origin.checkpoint();
        let plan = MemoryPlan::on(config, checkpoint, settings.precision, device)?
            .with_adapters(opened.adapters.iter().map(NamedAdapter::adapter))
            .with_draft(settings.speculative);
        let memory = MemoryLimit::of_settings(plan, settings.memory_limit, device);
        let work = Workload {
            image_size: Some(pictures.size()),
            ..Workload::default()
        };
        if !given {
            memory.check(&work, MemoryPrediction::peak)?;
        }
        Ok(memory)
    }

    fn random(
        config: &Blip2Config,
        seed: u64,
    ) -> Result<(CheckpointFolder, RandomWeights), Blip2Error> {
        let mut weights = RandomWeights::new(seed, config.initializer_range as f32);
        if has_tied_head(config) {
            weights = weights.without("lm_head.weight");
        }
        Ok((preset::folder(config)?, weights))
    }
}
