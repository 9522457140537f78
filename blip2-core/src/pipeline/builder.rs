//! Settings of a pipeline, and loading it.

use std::{path::Path, sync::OnceLock};

use blip2_io::{
    CheckpointFolder, LoadReport,
    config::Blip2Config,
    preprocessing::{DecodeOptions, ImageProcessor, Size},
};
use blip2_lm::generate::GenerationConfig;
use blip2_vision::VisionOptions;
use burn::tensor::Device;

use super::{
    Blip2Pipeline, Prompts, Template,
    source::{Parts, Source},
};
use crate::{
    Blip2Error, PrecisionPlan, default_device,
    device::is_host,
    memory::{MemoryLimit, MemoryPrediction, Workload},
    model::Blip2ForConditionalGeneration,
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
    precision: PrecisionPlan,
    template: Option<Template>,
    generation: GenerationConfig,
    decode: DecodeOptions,
    memory_limit: Option<u64>,
    image_size: Option<u32>,
    model: Option<Box<Blip2ForConditionalGeneration>>,
}

impl Blip2PipelineBuilder {
    pub(super) fn at(folder: &Path) -> Self {
        Self::with(Source::Path(folder.to_path_buf()))
    }

    pub(super) fn of(folder: CheckpointFolder) -> Self {
        Self::with(Source::Folder(folder))
    }

    pub(super) fn random(config: Blip2Config, seed: u64) -> Self {
        Self::with(Source::Random(Box::new(config), seed))
    }

    fn with(source: Source) -> Self {
        Self {
            source,
            device: None,
            precision: PrecisionPlan::default(),
            template: None,
            generation: GenerationConfig::default(),
            decode: DecodeOptions::default(),
            memory_limit: None,
            image_size: None,
            model: None,
        }
    }

    /// Computes on this device. Default: the first CPU backend of this build, `flex` if it is
    /// enabled.
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Holds the vision tower's and the language model's matrices in this precision, or by a
    /// [`PrecisionPlan`] each in its own. Default: the checkpoint's own, where the device can
    /// compute with it. The Q-Former is always `f32`.
    pub fn precision(mut self, precision: impl Into<PrecisionPlan>) -> Self {
        self.precision = precision.into();
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

    /// Refuses to load a model, or later to run a call, for which the program with this pipeline
    /// would take more than `bytes` of memory by the prediction of [`memory`](crate::memory).
    /// Default: what the machine has left when the model is loaded, and the control groups that the
    /// process runs in; none where that is not known, and none on a GPU, whose own memory is another
    /// matter.
    ///
    /// Each call is judged alone: what other pipelines or calls at the same time take is not
    /// counted. Whoever knows better gives `u64::MAX`.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Looks at pictures at this height and width, in pixels, in place of the size that the
    /// checkpoint was trained at; the positions of patches are interpolated, as the reference does
    /// with `interpolate_pos_encoding`. Larger pictures show more and cost more.
    pub fn image_size(mut self, side: u32) -> Self {
        self.image_size = Some(side);
        self
    }

    /// Runs this model, such as one that is being trained, in place of the folder's weights; of the
    /// folder the configuration, the tokenizer and the processor are read. The precision is then
    /// the model's own.
    pub fn model(mut self, model: Blip2ForConditionalGeneration) -> Self {
        self.model = Some(Box::new(model));
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Memory`] before anything is allocated, if the model and one picture with a
    /// short prompt would not fit; else [`Blip2Error`] naming the file, key or tensors at fault, an unsupported precision, or
    /// generation arguments that make no sense.
    pub fn load(self) -> Result<Blip2Pipeline, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "load").entered();
        self.generation.validate()?;
        let device = match self.device {
            Some(device) => device,
            None => default_device()?,
        };
        self.precision.check(&device)?;

        let Parts {
            config,
            tokenizer,
            reader,
            mut image_processor,
            prompts: overrides,
            origin,
        } = self.source.open()?;
        if let Some(side) = self.image_size {
            image_processor.size = Size {
                height: side,
                width: side,
            };
        }
        let processor = ImageProcessor::new(image_processor)?;
        let mut generation = self.generation;
        if generation.eos_token_id.is_empty() {
            generation.eos_token_id = config.text_config.eos_token_ids().to_vec();
        }
        generation
            .stop_strings
            .extend(overrides.stop.iter().cloned());
        let prompts = Prompts::new(&config, tokenizer, reader, overrides, self.template)?;

        let plan = origin.memory(&config, self.precision, &device)?;
        let memory = match self.memory_limit {
            None if is_host(&device) => MemoryLimit::of_machine(plan),
            limit => MemoryLimit::new(plan, limit),
        };
        let size = processor.config().size;
        let work = Workload {
            image_size: Some([size.height as usize, size.width as usize]),
            ..Workload::default()
        };
        let (model, report) = match self.model {
            Some(model) => (*model, LoadReport::default()),
            None => {
                memory.check(&work, MemoryPrediction::peak)?;
                origin.load(&config, self.precision, &device)?
            }
        };
        if !report.unused.is_empty() {
            tracing::warn!(unused = ?report.unused, "the checkpoint holds tensors that BLIP-2 does not read");
        }
        Ok(Blip2Pipeline {
            model,
            config,
            prompts,
            processor,
            vision: VisionOptions::default()
                .with_interpolate_pos_encoding(self.image_size.is_some()),
            decode: self.decode,
            generation,
            device,
            precision: self.precision,
            origin,
            memory,
            report,
            fingerprint: OnceLock::new(),
        })
    }
}
