//! Settings of a retrieval pipeline, and loading it.

use std::{path::PathBuf, sync::OnceLock};

use blip2_io::{
    CheckpointFolder, CheckpointWeights,
    config::ModelKind,
    preprocessing::{DecodeOptions, ImageProcessor},
};
use blip2_kernels::{Precision, Weights};
use burn::tensor::Device;

use super::{Blip2Retrieval, ImageEmbedder, TextEmbedder, TextRows};
use crate::{
    Blip2Error, device_by_name, device_names, family,
    model::{
        Blip2ForImageTextRetrieval, Blip2TextModelWithProjection, Blip2VisionModelWithProjection,
    },
};

/// Tensors that checkpoints hold without the model reading them: buffers of old versions.
pub(crate) const IGNORABLE: [&str; 1] = ["position_ids"];

/// The same of a model of retrieval, and what the first stage trains beside it.
pub(crate) const IGNORABLE_BESIDE_RETRIEVAL: [&str; 7] = [
    "position_ids",
    "temp",
    "cls.predictions.bias",
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.predictions.transform.LayerNorm.bias",
];

/// Settings of a [`Blip2Retrieval`]; made by [`Blip2Retrieval::builder`].
///
/// ```no_run
/// use blip2_core::{Blip2Retrieval, Device, Precision};
///
/// let blip2 = Blip2Retrieval::builder("models/blip2-itm-vit-g")
///     .device(Device::flex())
///     .precision(Precision::F32)
///     .load()?;
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is loaded before `load`"]
pub struct Blip2RetrievalBuilder {
    source: Source,
    device: Option<Device>,
    precision: Precision,
    decode: DecodeOptions,
}

/// Where the model is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Path(PathBuf),
    Folder(CheckpointFolder),
}

impl Blip2RetrievalBuilder {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            device: None,
            precision: Precision::default(),
            decode: DecodeOptions::default(),
        }
    }

    /// Computes on this device. Default: the first CPU backend of this build, `flex` if it is
    /// enabled.
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Holds the vision tower's matrices in this precision. Default: the checkpoint's own, where
    /// the device can compute with it. All else is always `f32`.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The limits within which [`Blip2Retrieval::open`] decodes files, and what becomes of
    /// transparency and animations. Default: see [`DecodeOptions`].
    pub fn decode_options(mut self, decode: DecodeOptions) -> Self {
        self.decode = decode;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// [`Blip2Error`] naming the file, key or tensors at fault, [`Blip2Error::WrongModel`] for a
    /// folder that holds another member of the family, or an unsupported precision.
    pub fn load(self) -> Result<Blip2Retrieval, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "load").entered();
        let (folder, device) = self.open(&[ModelKind::Blip2Retrieval])?;
        let config = folder.config()?;
        let texts = TextRows::new(&config, folder.tokenizer()?)?;
        let processor = ImageProcessor::new(folder.image_processor()?)?;

        let checkpoint = folder.checkpoint()?;
        let source = CheckpointWeights::new(&checkpoint);
        let weights = Weights::new(&source, &device).with_precision(self.precision);
        let model = Blip2ForImageTextRetrieval::load(&config, &weights)?;
        let report = source.finish(&IGNORABLE_BESIDE_RETRIEVAL)?;
        if !report.unused.is_empty() {
            tracing::warn!(unused = ?report.unused, "the checkpoint holds tensors that retrieval does not read");
        }
        Ok(Blip2Retrieval {
            model,
            config,
            texts,
            processor,
            decode: self.decode,
            device,
            precision: self.precision,
            checkpoint,
            report,
            fingerprint: OnceLock::new(),
        })
    }

    /// Loads only the half that reads texts, from a folder of its own or of the whole model.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_text(self) -> Result<TextEmbedder, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "load").entered();
        let (folder, device) = self.open(&[ModelKind::Blip2Text, ModelKind::Blip2Retrieval])?;
        let config = folder.config()?;
        let texts = TextRows::new(&config, folder.tokenizer()?)?;
        let checkpoint = folder.checkpoint()?;
        let source = CheckpointWeights::new(&checkpoint);
        let model = Blip2TextModelWithProjection::load(&config, &Weights::new(&source, &device))?;
        // Of the whole model's folder most is not for this half.
        source.finish(&[])?;
        Ok(TextEmbedder { model, texts })
    }

    /// Loads only the half that reads pictures, from a folder of its own or of the whole model.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_vision(self) -> Result<ImageEmbedder, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "load").entered();
        let (folder, device) = self.open(&[ModelKind::Blip2Vision, ModelKind::Blip2Retrieval])?;
        let config = folder.config()?;
        let processor = ImageProcessor::new(folder.image_processor()?)?;
        let checkpoint = folder.checkpoint()?;
        let source = CheckpointWeights::new(&checkpoint);
        let weights = Weights::new(&source, &device).with_precision(self.precision);
        let model = Blip2VisionModelWithProjection::load(&config, &weights)?;
        source.finish(&[])?;
        Ok(ImageEmbedder {
            model,
            processor,
            decode: self.decode,
            device,
        })
    }

    /// The folder, if it is of one of these kinds, and the device, if it can do what is asked.
    fn open(&self, kinds: &[ModelKind]) -> Result<(CheckpointFolder, Device), Blip2Error> {
        let device = match &self.device {
            Some(device) => device.clone(),
            None => device_by_name(device_names().first().copied().unwrap_or("flex"))?,
        };
        let precision = self.precision;
        if !precision.is_supported(&device) {
            return Err(Blip2Error::Precision { precision });
        }
        let folder = match &self.source {
            Source::Path(path) => CheckpointFolder::open(path)?,
            Source::Folder(folder) => folder.clone(),
        };
        family::expect(&folder, kinds)?;
        Ok((folder, device))
    }
}
