//! Whose memory is planned, and what its stages take.

#[cfg(feature = "speech")]
use blip2_io::config::GraniteSpeechConfig;
use blip2_io::config::{Blip2Config, BlipConfig, ModelKind};
use blip2_kernels::Weights;

#[cfg(feature = "speech")]
use super::speech;
use super::{
    Workload,
    activations::{self, Products, Text},
    blip1, explained,
    pieces::{self, Piece},
};
#[cfg(feature = "speech")]
use crate::model::GraniteSpeechForConditionalGeneration;
use crate::{
    error::Blip2Error,
    model::{
        Blip2ForConditionalGeneration, BlipForConditionalGeneration, BlipForImageTextRetrieval,
        BlipForQuestionAnswering,
    },
    precision::PrecisionPlan,
};

/// A model by its configuration.
#[derive(Clone)]
pub(super) enum Planned {
    Blip2(Box<Blip2Config>),
    /// A BLIP-1, and which of its kinds.
    Blip1(Box<BlipConfig>, ModelKind),
    #[cfg(feature = "speech")]
    Speech(Box<GraniteSpeechConfig>),
}

/// What the stages take, in bytes.
pub(super) struct Stages {
    pub(super) vision: u64,
    pub(super) qformer: u64,
    pub(super) text: Text,
}

impl Planned {
    /// Builds the model of what `weights` give.
    pub(super) fn build(&self, weights: &Weights<'_>) -> Result<(), Blip2Error> {
        let stored = PrecisionPlan::default();
        match self {
            Self::Blip2(config) => {
                Blip2ForConditionalGeneration::build(config, weights, stored)?;
            }
            Self::Blip1(config, ModelKind::BlipAnswer) => {
                BlipForQuestionAnswering::build(config, weights, stored)?;
            }
            Self::Blip1(config, ModelKind::BlipCaption) => {
                BlipForConditionalGeneration::build(config, weights, stored)?;
            }
            Self::Blip1(config, _) => {
                BlipForImageTextRetrieval::build(config, weights, stored)?;
            }
            #[cfg(feature = "speech")]
            Self::Speech(config) => {
                GraniteSpeechForConditionalGeneration::build(config, weights, stored)?;
            }
        }
        Ok(())
    }

    /// The height and width that it was trained at; nothing of a model without pictures.
    pub(super) fn size(&self) -> [usize; 2] {
        let side = match self {
            Self::Blip2(config) => config.vision_config.image_size,
            Self::Blip1(config, _) => config.vision_config.image_size,
            #[cfg(feature = "speech")]
            Self::Speech(_) => 0,
        };
        [side, side]
    }

    /// Whether it reads sound, and not pictures.
    pub(super) fn reads_sound(&self) -> bool {
        match self {
            Self::Blip2(_) | Self::Blip1(..) => false,
            #[cfg(feature = "speech")]
            Self::Speech(_) => true,
        }
    }

    /// How many frames it looks at together; 1 of pictures.
    pub(super) fn frames(&self) -> usize {
        match self {
            Self::Blip2(config) => config.model_type.num_frames(),
            Self::Blip1(..) => 1,
            #[cfg(feature = "speech")]
            Self::Speech(_) => 1,
        }
    }

    /// What is held in the precision of the language model, by what its tensors' names begin with.
    pub(super) fn texts(&self) -> &'static [&'static str] {
        match self {
            Self::Blip2(_) => &["language_model"],
            Self::Blip1(..) => &["text_encoder", "text_decoder"],
            #[cfg(feature = "speech")]
            Self::Speech(_) => &["language_model"],
        }
    }

    /// What is held in the precision of the image encoder, or of that of sound.
    pub(super) fn encoder(&self) -> &'static str {
        match self {
            Self::Blip2(_) | Self::Blip1(..) => "vision_model",
            #[cfg(feature = "speech")]
            Self::Speech(_) => "encoder",
        }
    }

    /// What preparing pictures or sounds takes on the host.
    pub(super) fn preprocess(&self, work: &Workload, size: [usize; 2]) -> u64 {
        match self {
            Self::Blip2(_) | Self::Blip1(..) => {
                let frames = work.batch.saturating_mul(self.frames());
                activations::preprocess(frames, work.picture_pixels, size)
            }
            #[cfg(feature = "speech")]
            Self::Speech(_) => speech::preprocess(work),
        }
    }

    /// What the stages take while they run `work` on pictures of this size.
    pub(super) fn stages(
        &self,
        work: &Workload,
        size: [usize; 2],
        products: impl Fn(&[&str]) -> Products,
    ) -> Stages {
        // Of a video each frame is a picture.
        let frames = work.batch.saturating_mul(self.frames());
        let [of_vision, of_texts] = [products(&[self.encoder()]), products(self.texts())];
        match self {
            Self::Blip2(config) => Stages {
                vision: activations::vision(&config.vision_config, frames, size, of_vision),
                qformer: activations::qformer(config, frames, size, products(&["qformer"])),
                text: activations::text(config, work, of_texts),
            },
            Self::Blip1(config, kind) => {
                let tower = config.vision_config.tower();
                Stages {
                    vision: activations::vision(&tower, frames, size, of_vision),
                    qformer: 0,
                    text: blip1::text(config, *kind, work, size, of_texts),
                }
            }
            #[cfg(feature = "speech")]
            Self::Speech(config) => Stages {
                vision: speech::encoder(&config.encoder_config, work, of_vision),
                qformer: speech::projector(config, work, products(&["projector"])),
                text: speech::text(config, work, of_texts),
            },
        }
    }

    /// The largest tensor beside the weights.
    pub(super) fn largest_piece(&self, work: &Workload, size: [usize; 2]) -> Option<Piece> {
        match self {
            Self::Blip2(config) => pieces::of_blip2(config, work, size),
            Self::Blip1(config, kind) => pieces::of_blip1(config, *kind, work, size),
            #[cfg(feature = "speech")]
            Self::Speech(config) => speech::largest_piece(config, work),
        }
    }

    /// What an explanation by gradients keeps: `largest` is the widest matrix, unpacked.
    pub(super) fn explained(&self, work: &Workload, size: [usize; 2], largest: u64) -> u64 {
        match self {
            Self::Blip2(config) => explained::explained(config, work, size, largest),
            Self::Blip1(config, kind) => blip1::explained(config, *kind, work, size, largest),
            // Nothing explains it.
            #[cfg(feature = "speech")]
            Self::Speech(_) => 0,
        }
    }
}
