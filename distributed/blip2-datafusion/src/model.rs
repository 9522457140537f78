//! A member of the family, whichever it is.

use std::path::Path;

use blip2_core::{
    Blip2Error, Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval, Builder,
    CheckpointFolder, Device, Member, ModelKind, Precision, PrecisionPlan,
    preprocessing::ImageProcessor,
};

use crate::{error::FunctionError, shape};

/// A model that sees single pictures; each pipeline of `blip2-core` becomes one by `into`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Model {
    /// BLIP-2 and InstructBLIP with a language model: captions, answers, embeddings.
    Blip2(Blip2Pipeline),
    /// BLIP-2's retrieval: matches, embeddings.
    Retrieval(Blip2Retrieval),
    /// BLIP-1 that describes: captions, embeddings.
    Captioner(BlipCaptioner),
    /// BLIP-1 that answers: answers, embeddings.
    Answerer(BlipAnswerer),
    /// BLIP-1's retrieval: matches, embeddings.
    BlipRetrieval(BlipRetrieval),
}

macro_rules! from {
    ($($variant:ident($pipeline:ty)),* $(,)?) => {$(
        impl From<$pipeline> for Model {
            fn from(pipeline: $pipeline) -> Self {
                Self::$variant(pipeline)
            }
        }
    )*};
}

from! {
    Blip2(Blip2Pipeline),
    Retrieval(Blip2Retrieval),
    Captioner(BlipCaptioner),
    Answerer(BlipAnswerer),
    BlipRetrieval(BlipRetrieval),
}

/// How a model is loaded.
#[derive(Debug, Clone)]
pub struct Loading {
    device: Option<Device>,
    precision: PrecisionPlan,
}

impl Default for Loading {
    fn default() -> Self {
        Self {
            device: None,
            precision: Precision::AsStored.into(),
        }
    }
}

impl Loading {
    /// Computes there. Default: the processor.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Holds the weights in this number format. Default: as they are stored.
    #[must_use]
    pub fn with_precision(mut self, precision: impl Into<PrecisionPlan>) -> Self {
        self.precision = precision.into();
        self
    }

    fn load<M: Member>(&self, builder: Builder<M>) -> Result<M, Blip2Error> {
        let builder = builder.precision(self.precision);
        match &self.device {
            Some(device) => builder.device(device.clone()).load(),
            None => builder.load(),
        }
    }
}

impl Model {
    /// Loads whichever member of the family a checkpoint holds: a folder, a file that `blip2 pack`
    /// wrote, or the id of a model that is in the Hugging Face cache.
    ///
    /// ```
    /// use blip2_datafusion::{Loading, Model};
    ///
    /// let model = Model::open("../../blip2-cli/demo", &Loading::default())?;
    /// assert!(matches!(model, Model::Blip2(_)));
    /// # Ok::<(), blip2_datafusion::FunctionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FunctionError::Kind`] for what sees no single pictures, and what loading says.
    pub fn open(path: impl AsRef<Path>, loading: &Loading) -> Result<Self, FunctionError> {
        let folder = CheckpointFolder::open(path).map_err(Blip2Error::from)?;
        let kind = folder.kind().map_err(Blip2Error::from)?;
        check(kind)?;
        Ok(match kind {
            ModelKind::Blip2Retrieval => {
                Self::Retrieval(loading.load(Blip2Retrieval::builder_from(folder))?)
            }
            ModelKind::BlipCaption => {
                Self::Captioner(loading.load(BlipCaptioner::builder_from(folder))?)
            }
            ModelKind::BlipAnswer => {
                Self::Answerer(loading.load(BlipAnswerer::builder_from(folder))?)
            }
            ModelKind::BlipRetrieval => {
                Self::BlipRetrieval(loading.load(BlipRetrieval::builder_from(folder))?)
            }
            _ => Self::Blip2(loading.load(Blip2Pipeline::builder_from(folder))?),
        })
    }

    /// Which member of the family it is.
    pub fn kind(&self) -> ModelKind {
        match self {
            Self::Blip2(blip2) => match blip2.model().num_frames() {
                0 | 1 if blip2.model().reads_instructions() => ModelKind::InstructBlip,
                0 | 1 => ModelKind::Blip2,
                _ => ModelKind::InstructBlipVideo,
            },
            Self::Retrieval(_) => ModelKind::Blip2Retrieval,
            Self::Captioner(_) => ModelKind::BlipCaption,
            Self::Answerer(_) => ModelKind::BlipAnswer,
            Self::BlipRetrieval(_) => ModelKind::BlipRetrieval,
        }
    }

    /// What prepares pictures.
    pub(crate) fn processor(&self) -> &ImageProcessor {
        match self {
            Self::Blip2(model) => model.processor(),
            Self::Retrieval(model) => model.processor(),
            Self::Captioner(model) => model.processor(),
            Self::Answerer(model) => model.processor(),
            Self::BlipRetrieval(model) => model.processor(),
        }
    }

    /// The shape of a picture's embedding.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Blip2(model) => shape::of_blip2(model.config(), false),
            Self::Retrieval(model) => shape::of_blip2(model.config(), true),
            Self::Captioner(model) => shape::of_blip1(model.config(), false),
            Self::Answerer(model) => shape::of_blip1(model.config(), false),
            Self::BlipRetrieval(model) => shape::of_blip1(model.config(), true),
        }
    }
}

/// Refuses what sees no single pictures.
pub(crate) fn check(kind: ModelKind) -> Result<(), FunctionError> {
    let reason = match kind {
        ModelKind::Blip2
        | ModelKind::Blip2Retrieval
        | ModelKind::InstructBlip
        | ModelKind::BlipCaption
        | ModelKind::BlipAnswer
        | ModelKind::BlipRetrieval => return Ok(()),
        ModelKind::InstructBlipVideo => {
            "looks at videos, and a row is one picture: give a model of pictures, such as \
             instructblip-flan-t5-xl"
        }
        _ => {
            "is a part of a model and has no function in SQL: give a whole one, such as \
             blip2-opt-2.7b or blip2-itm-vit-g"
        }
    };
    Err(FunctionError::Kind { kind, reason })
}
