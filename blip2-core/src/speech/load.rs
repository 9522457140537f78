//! How a speech pipeline is loaded.

use blip2_io::{
    Adapter, Checkpoint, CheckpointFolder, IoError,
    config::{ConfigError, GraniteSpeechConfig, ModelKind},
};
use blip2_kernels::Weights;
use blip2_lm::{LanguageModel, generate::GenerationConfig};

use super::{GraniteSpeechForConditionalGeneration, Sounds, SpeechPipeline, SpeechTexts};
use crate::{
    error::Blip2Error,
    load::{FolderConfig, IGNORABLE_OF_SPEECH, Load, NamedAdapter, Opened, Settings, Takes},
    memory::{DRAFT, Fit, MemoryLimit, MemoryPlan, MemoryPrediction, Workload},
    model::load_language_model,
    precision::PrecisionPlan,
};

impl FolderConfig for GraniteSpeechConfig {
    fn read(folder: &CheckpointFolder) -> Result<Self, Blip2Error> {
        Ok(folder.speech_config()?)
    }
}

impl Load for SpeechPipeline {
    type Config = GraniteSpeechConfig;
    type Model = GraniteSpeechForConditionalGeneration;
    type Texts = SpeechTexts;
    type Pictures = Sounds;
    type Memory = MemoryLimit;

    const NAME: &'static str = "SpeechPipeline";
    const KINDS: &'static [ModelKind] = &[ModelKind::GraniteSpeech];
    const TAKES: Takes = Takes {
        pictures: false,
        image_size: false,
        ..Takes::ALL
    };
    const IGNORABLE: Option<&'static [&'static str]> = Some(&IGNORABLE_OF_SPEECH);

    fn build_model(
        config: &GraniteSpeechConfig,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self::Model, Blip2Error> {
        Self::Model::build(config, weights, precision)
    }

    fn build_draft(
        config: &GraniteSpeechConfig,
        weights: &Weights<'_>,
    ) -> Result<Option<LanguageModel>, Blip2Error> {
        let weights = weights.with_precision(DRAFT);
        Ok(Some(load_language_model(config, &weights)?))
    }

    /// The adapter beside the checkpoint. The reference puts on whatever is there, whether the
    /// configuration speaks of it or not.
    fn own_adapter(
        folder: &CheckpointFolder,
        config: &GraniteSpeechConfig,
    ) -> Result<Option<Adapter>, Blip2Error> {
        let adapter = Adapter::beside(folder)?;
        if adapter.is_some() || !config.has_lora_adapter {
            return Ok(adapter);
        }
        Err(Blip2Error::Incomplete {
            what: format!(
                "{}: adapter_config.json is missing, though config.json says `has_lora_adapter`, and without its \
                 adapter the model does not understand speech",
                folder.path().display()
            ),
            remedy: "copy adapter_config.json and adapter_model.safetensors from the model's repository, \
                     give their folder as an adapter, or set `has_lora_adapter` to false"
                .into(),
        })
    }

    fn read_texts(
        folder: &CheckpointFolder,
        config: &GraniteSpeechConfig,
        settings: &Settings,
    ) -> Result<SpeechTexts, Blip2Error> {
        SpeechTexts::new(folder, config, settings)
    }

    fn read_pictures(
        folder: &CheckpointFolder,
        config: &GraniteSpeechConfig,
        _: &Settings,
    ) -> Result<Sounds, Blip2Error> {
        Sounds::of(folder, config)
    }

    fn complete(
        folder: &CheckpointFolder,
        config: &GraniteSpeechConfig,
        generation: &mut GenerationConfig,
    ) -> Result<(), Blip2Error> {
        if generation.eos_token_id.is_empty() {
            let written: Option<GenerationConfig> = folder.generation_config()?;
            let written = written.map(|written| written.eos_token_id);
            let ends = written.filter(|ends| !ends.is_empty());
            let own = || config.text_config.eos_token_ids().to_vec();
            generation.eos_token_id = ends.unwrap_or_else(own);
        }
        generation.stop_strings.extend(folder.prompts()?.stop);
        Ok(())
    }

    fn memory(
        opened: &Opened<GraniteSpeechConfig>,
        settings: &Settings,
        _: &Sounds,
        given: bool,
    ) -> Result<MemoryLimit, Blip2Error> {
        let (config, device) = (&opened.config, &opened.device);
        let checkpoint = opened.origin.checkpoint();
        // What a damaged number would take is no question of memory.
        if let Some(checkpoint) = checkpoint {
            check_sizes(&opened.folder, config, checkpoint)?;
        }
        let plan = MemoryPlan::of_speech_on(config, checkpoint, settings.precision, device)?
            .with_adapters(opened.adapters.iter().map(NamedAdapter::adapter))
            .with_draft(settings.speculative);
        let memory = MemoryLimit::of_settings(plan, settings.memory_limit, device);
        if !given {
            let fits = memory.check(&Workload::default(), MemoryPrediction::peak);
            fits.map_err(of_loading)?;
        }
        Ok(memory)
    }
}

/// An error of a load, which a shorter recording does not help.
fn of_loading(error: Blip2Error) -> Blip2Error {
    match error {
        Blip2Error::Memory(mut error) => {
            error.fits.retain(|fit| !matches!(fit, Fit::SoundFrames(_)));
            Blip2Error::Memory(error)
        }
        other => other,
    }
}

/// Refuses widths that the weights do not have, by their keys.
fn check_sizes(
    folder: &CheckpointFolder,
    config: &GraniteSpeechConfig,
    checkpoint: &Checkpoint,
) -> Result<(), Blip2Error> {
    const ENCODER: &str = "encoder_config";
    let (encoder, text) = (&config.encoder_config, &config.text_config);
    let projector = &config.projector_config;
    let (first, query) = ("encoder.input_linear.weight", "projector.query");
    let table = "language_model.model.embed_tokens.weight";
    for (part, key, value, (tensor, axis)) in [
        (ENCODER, "hidden_dim", encoder.hidden_dim, (first, 0)),
        (ENCODER, "input_dim", encoder.input_dim, (first, 1)),
        (
            "projector_config",
            "hidden_size",
            projector.hidden_size,
            (query, 2),
        ),
        ("text_config", "hidden_size", text.hidden_size(), (table, 1)),
    ] {
        let shape = checkpoint.shape(tensor);
        let Some(&found) = shape.and_then(|shape| shape.get(axis)) else {
            continue;
        };
        if found != value {
            let reason = format!("the weights have {found} in `{tensor}`");
            return Err(Blip2Error::Io(IoError::Config {
                path: folder.path().join("config.json"),
                source: ConfigError::value(part, key, value, reason),
            }));
        }
    }
    Ok(())
}
