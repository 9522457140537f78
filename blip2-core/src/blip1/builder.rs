//! Settings of a BLIP-1 model, and loading it.

use std::{
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use blip2_io::{
    CheckpointFolder, CheckpointWeights, LoadReport,
    config::{BlipConfig, ModelKind},
    preprocessing::{DecodeOptions, ImageProcessor},
};
use blip2_kernels::Weights;
use blip2_lm::generate::GenerationConfig;
use burn::tensor::Device;

use super::parts::Parts;
use crate::{Blip2Error, PrecisionPlan, default_device, family, retrieval::IGNORABLE};

/// A type that a BLIP-1 checkpoint is opened as: [`BlipCaptioner`](crate::BlipCaptioner),
/// [`BlipAnswerer`](crate::BlipAnswerer) or [`BlipRetrieval`](crate::BlipRetrieval).
pub trait BlipMember: Member {}

impl<T: Member> BlipMember for T {}

/// What loading needs to know of a member.
pub trait Member: Sized {
    const KIND: ModelKind;
    type Model;

    fn load_model(
        config: &BlipConfig,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self::Model, Blip2Error>;

    fn assemble(model: Self::Model, parts: Parts) -> Self;
}

/// Settings of a BLIP-1 model; made by its type's `builder`.
///
/// ```no_run
/// use blip2_core::{BlipAnswerer, Precision};
///
/// let blip = BlipAnswerer::builder("models/blip-vqa-base")
///     .precision(Precision::Bf16)
///     .load()?;
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[must_use = "nothing is loaded before `load`"]
pub struct BlipBuilder<T> {
    source: Source,
    device: Option<Device>,
    precision: PrecisionPlan,
    generation: GenerationConfig,
    decode: DecodeOptions,
    opens: PhantomData<fn() -> T>,
}

/// Where the model is.
#[derive(Debug, Clone)]
enum Source {
    Path(PathBuf),
    Folder(CheckpointFolder),
}

impl<T: BlipMember> BlipBuilder<T> {
    pub(super) fn at(path: &Path) -> Self {
        Self::new(Source::Path(path.to_path_buf()))
    }

    pub(super) fn of(folder: CheckpointFolder) -> Self {
        Self::new(Source::Folder(folder))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            device: None,
            precision: PrecisionPlan::default(),
            generation: GenerationConfig::default(),
            decode: DecodeOptions::default(),
            opens: PhantomData,
        }
    }

    /// Computes on this device. Default: the first CPU backend of this build, `flex` if it is
    /// enabled.
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Holds the matrices of the image encoder and of the text models in this precision, or by a
    /// [`PrecisionPlan`] each in its own. Default: the checkpoint's own, where the device can
    /// compute with it.
    pub fn precision(mut self, precision: impl Into<PrecisionPlan>) -> Self {
        self.precision = precision.into();
        self
    }

    /// Generates with these arguments where a call has none of its own. Default: greedy, 20 new
    /// tokens.
    pub fn generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = generation;
        self
    }

    /// The limits within which files are decoded, and what becomes of transparency and
    /// animations. Default: see [`DecodeOptions`].
    pub fn decode_options(mut self, decode: DecodeOptions) -> Self {
        self.decode = decode;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// [`Blip2Error`] naming the file, key or tensors at fault, [`Blip2Error::WrongModel`] for a
    /// folder that holds another member of the family, an unsupported precision, or generation
    /// arguments that make no sense.
    pub fn load(self) -> Result<T, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "load").entered();
        self.generation.validate()?;
        let device = match self.device {
            Some(device) => device,
            None => default_device()?,
        };
        self.precision.check(&device)?;
        let folder = match self.source {
            Source::Path(path) => CheckpointFolder::open(path)?,
            Source::Folder(folder) => folder,
        };
        family::expect(&folder, &[T::KIND])?;
        let config = folder.blip_config()?;
        let tokenizer = folder.tokenizer()?;
        tokenizer.check_fits(config.text_config.vocab_size)?;
        let processor = ImageProcessor::new(folder.image_processor()?)?;
        let checkpoint = folder.checkpoint()?;
        let source = CheckpointWeights::new(&checkpoint);
        let weights = Weights::new(&source, &device);
        let model = T::load_model(&config, &weights, self.precision)?;
        let report: LoadReport = source.finish(&IGNORABLE)?;
        if !report.unused.is_empty() {
            tracing::warn!(unused = ?report.unused, "the checkpoint holds tensors that BLIP does not read");
        }
        let mut generation = self.generation;
        if generation.eos_token_id.is_empty() {
            generation.eos_token_id = config.text_config.sep_token_id.into_iter().collect();
        }
        let parts = Parts {
            config,
            tokenizer,
            processor,
            decode: self.decode,
            generation,
            device,
            report,
        };
        Ok(T::assemble(model, parts))
    }
}

impl<T> Clone for BlipBuilder<T> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            device: self.device.clone(),
            precision: self.precision,
            generation: self.generation.clone(),
            decode: self.decode,
            opens: PhantomData,
        }
    }
}

impl<T> fmt::Debug for BlipBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlipBuilder")
            .field("source", &self.source)
            .field("device", &self.device)
            .field("precision", &self.precision)
            .field("generation", &self.generation)
            .field("decode", &self.decode)
            .finish()
    }
}
