//! Settings of a pipeline, and loading it.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use blip2_io::{
    CheckpointFolder, CheckpointWeights,
    config::ModelKind,
    image::{DecodeOptions, ImageProcessor},
};
use blip2_kernels::{Precision, Weights};
use blip2_lm::generate::GenerationConfig;
use burn::tensor::Device;

use super::{Blip2Pipeline, Prompts, Template};
use crate::{
    Blip2Error, device_by_name, device_names, family, model::Blip2ForConditionalGeneration,
};

/// Tensors that checkpoints hold without the model reading them: duplicates of tied weights, and
/// buffers of old versions.
pub(crate) const IGNORABLE: [&str; 6] = [
    // T5 checkpoints of old hold one that the model never had a use for.
    "EncDecAttention.relative_attention_bias.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "lm_head.weight",
    "position_ids",
    "embed_positions.weights",
];

/// Settings of a [`Blip2Pipeline`]; made by [`Blip2Pipeline::builder`].
///
/// ```no_run
/// use blip2_core::{Blip2Pipeline, Device, Precision};
///
/// let blip2 = Blip2Pipeline::builder("models/blip2-opt-2.7b")
///     .device(Device::flex())
///     .precision(Precision::F32)
///     .template("Question: {} Answer:".parse()?)
///     .load()?;
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is loaded before `load`"]
pub struct Blip2PipelineBuilder {
    source: Source,
    device: Option<Device>,
    precision: Precision,
    template: Option<Template>,
    generation: GenerationConfig,
    decode: DecodeOptions,
}

#[derive(Debug, Clone)]
enum Source {
    Path(PathBuf),
    Folder(CheckpointFolder),
}

impl Blip2PipelineBuilder {
    pub(super) fn at(folder: &Path) -> Self {
        Self::with(Source::Path(folder.to_path_buf()))
    }

    pub(super) fn of(folder: CheckpointFolder) -> Self {
        Self::with(Source::Folder(folder))
    }

    fn with(source: Source) -> Self {
        Self {
            source,
            device: None,
            precision: Precision::default(),
            template: None,
            generation: GenerationConfig::default(),
            decode: DecodeOptions::default(),
        }
    }

    /// Computes on this device. Default: the first CPU backend of this build, `flex` if it is
    /// enabled.
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Holds the vision tower's and the language model's matrices in this precision. Default: the
    /// checkpoint's own, where the device can compute with it. The Q-Former is always `f32`.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Puts questions into this template. Default: the folder's `blip2.json`, or what the language
    /// model is used to.
    pub fn template(mut self, template: Template) -> Self {
        self.template = Some(template);
        self
    }

    /// Generates with these arguments where a call has none of its own. Default: greedy, 20 new
    /// tokens.
    pub fn generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = generation;
        self
    }

    /// The limits within which [`Blip2Pipeline::open`] decodes files, and what becomes of
    /// transparency and animations. Default: see [`DecodeOptions`].
    pub fn decode_options(mut self, decode: DecodeOptions) -> Self {
        self.decode = decode;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// [`Blip2Error`] naming the file, key or tensors at fault, an unsupported precision, or
    /// generation arguments that make no sense.
    pub fn load(self) -> Result<Blip2Pipeline, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "load").entered();
        self.generation.validate()?;
        let folder = match self.source {
            Source::Path(path) => CheckpointFolder::open(path)?,
            Source::Folder(folder) => folder,
        };
        let device = match self.device {
            Some(device) => device,
            None => device_by_name(device_names().first().copied().unwrap_or("flex"))?,
        };
        if !self.precision.is_supported(&device) {
            return Err(Blip2Error::Precision {
                precision: self.precision,
            });
        }

        if !family::answers(folder.kind()?) {
            family::expect(&folder, ModelKind::Blip2)?;
        }
        let config = folder.config()?;
        let tokenizer = folder.tokenizer()?;
        let reader = match config.model_type.reads_instructions() {
            true => Some(folder.qformer_tokenizer()?),
            false => None,
        };
        let processor = ImageProcessor::new(folder.image_processor()?)?;
        let overrides = folder.prompts()?;
        let mut generation = self.generation;
        if generation.eos_token_id.is_empty() {
            generation.eos_token_id = config.text_config.eos_token_ids().to_vec();
        }
        generation
            .stop_strings
            .extend(overrides.stop.iter().cloned());
        let prompts = Prompts::new(&config, tokenizer, reader, overrides, self.template)?;

        let checkpoint = folder.checkpoint()?;
        let source = CheckpointWeights::new(&checkpoint);
        let weights = Weights::new(&source, &device).with_precision(self.precision);
        let model = Blip2ForConditionalGeneration::load(&config, &weights)?;
        let report = source.finish(&IGNORABLE)?;
        if !report.unused.is_empty() {
            tracing::warn!(unused = ?report.unused, "the checkpoint holds tensors that BLIP-2 does not read");
        }
        Ok(Blip2Pipeline {
            model,
            config,
            prompts,
            processor,
            decode: self.decode,
            generation,
            device,
            precision: self.precision,
            checkpoint,
            report,
            fingerprint: OnceLock::new(),
        })
    }
}
