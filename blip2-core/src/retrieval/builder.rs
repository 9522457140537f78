//! Settings of a retrieval pipeline, and loading it.

use std::sync::OnceLock;

use blip2_io::{
    CheckpointFolder, CheckpointWeights, IoError,
    config::ModelKind,
    image::{DecodeOptions, ImageProcessor},
};
use blip2_kernels::{Precision, Weights};
use burn::tensor::Device;

use super::{Blip2Retrieval, Texts};
use crate::{Blip2Error, device_by_name, device_names, family, model::Blip2ForImageTextRetrieval};

/// Tensors that checkpoints hold without the model reading them: buffers of old versions.
pub(crate) const IGNORABLE: [&str; 1] = ["position_ids"];

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
#[derive(Debug)]
#[must_use = "nothing is loaded before `load`"]
pub struct Blip2RetrievalBuilder {
    folder: Result<CheckpointFolder, IoError>,
    device: Option<Device>,
    precision: Precision,
    decode: DecodeOptions,
}

impl Blip2RetrievalBuilder {
    pub(super) fn new(folder: Result<CheckpointFolder, IoError>) -> Self {
        Self {
            folder,
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
        let folder = self.folder?;
        let device = match self.device {
            Some(device) => device,
            None => device_by_name(device_names().first().copied().unwrap_or("flex"))?,
        };
        let precision = self.precision;
        if !precision.is_supported(&device) {
            return Err(Blip2Error::Precision { precision });
        }
        family::expect(&folder, ModelKind::Blip2Retrieval)?;
        let config = folder.config()?;
        let texts = Texts::new(&config, folder.tokenizer()?)?;
        let processor = ImageProcessor::new(folder.image_processor()?)?;

        let checkpoint = folder.checkpoint()?;
        let source = CheckpointWeights::new(&checkpoint);
        let weights = Weights::new(&source, &device).with_precision(precision);
        let model = Blip2ForImageTextRetrieval::load(&config, &weights)?;
        let report = source.finish(&IGNORABLE)?;
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
            precision,
            checkpoint,
            report,
            fingerprint: OnceLock::new(),
        })
    }
}
