//! What is kept of pictures that were looked at.

use std::fmt;

use blip2_lm::generate::CancelToken;
use burn::tensor::{Tensor, TensorData};

use super::Blip2Pipeline;
use crate::{
    error::Blip2Error,
    load::Loaded,
    model::ImageFeatures,
    text::PromptRows,
    verbs::{Timings, stage},
};

/// Pictures as far as they can be encoded without knowing what will be asked.
#[derive(Clone)]
pub enum Looked {
    /// What the language model reads: the Q-Former sees pictures alone (BLIP-2).
    Gathered(ImageFeatures),
    /// What the Q-Former reads with each prompt (InstructBLIP): the image encoder's output.
    Encoded {
        /// `[pictures · frames, patches + 1, vision_hidden]`.
        image_embeds: Tensor<3>,
        /// The frames of each picture.
        frames: usize,
    },
}

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Looked");
        shown.field("shape", &self.tensor().dims()).finish()
    }
}

impl Looked {
    /// The vectors that are kept.
    pub(super) fn tensor(&self) -> Tensor<3> {
        match self {
            Self::Gathered(features) => features.tensor(),
            Self::Encoded { image_embeds, .. } => image_embeds.clone(),
        }
    }

    /// The only picture, `count` times.
    pub(super) fn repeat(&self, count: usize) -> Self {
        match self {
            Self::Gathered(features) => Self::Gathered(features.select(&vec![0; count])),
            Self::Encoded {
                image_embeds,
                frames,
            } => {
                let rows: Vec<i64> = (0..count).flat_map(|_| 0..*frames as i64).collect();
                let shape = [rows.len()];
                let rows = TensorData::new(rows, shape);
                let rows = Tensor::from_data(rows, &image_embeds.device());
                Self::Encoded {
                    image_embeds: image_embeds.clone().select(0, rows),
                    frames: *frames,
                }
            }
        }
    }
}

impl Looked {
    /// One of some pictures.
    pub(super) fn part(&self, index: usize) -> Self {
        match self {
            Self::Gathered(features) => Self::Gathered(features.select(&[index])),
            Self::Encoded {
                image_embeds,
                frames,
            } => Self::Encoded {
                image_embeds: image_embeds.clone().narrow(0, index * frames, *frames),
                frames: *frames,
            },
        }
    }

    /// Pictures of one model together, in this order.
    pub(super) fn join(looked: &[&Self]) -> Result<Self, Blip2Error> {
        let kept = looked.iter().map(|looked| looked.tensor()).collect();
        match looked.first() {
            None => Err(Blip2Error::Rows {
                reason: "there are no pictures".into(),
            }),
            Some(Self::Gathered(_)) => Ok(Self::Gathered(ImageFeatures::new(Tensor::cat(kept, 0)))),
            Some(Self::Encoded { frames, .. }) => Ok(Self::Encoded {
                image_embeds: Tensor::cat(kept, 0),
                frames: *frames,
            }),
        }
    }
}

impl Blip2Pipeline {
    /// The shape of what is kept of one picture.
    pub(super) fn looked_shape(&self) -> [usize; 3] {
        let Loaded {
            model,
            config,
            pictures,
            ..
        } = self.inner.as_ref();
        if model.reads_instructions() {
            let patch = config.vision_config.patch_size;
            let patches: usize = pictures.size().map(|side| side / patch).iter().product();
            let width = config.vision_config.hidden_size;
            [model.num_frames(), patches + 1, width]
        } else {
            let width = model.language_model().embedding_dim();
            [1, model.num_query_tokens(), width]
        }
    }

    /// Takes up what was kept of a picture.
    pub(super) fn taken_up(&self, kept: Tensor<3>) -> Looked {
        let model = &self.inner.model;
        if model.reads_instructions() {
            Looked::Encoded {
                image_embeds: kept,
                frames: model.num_frames(),
            }
        } else {
            Looked::Gathered(ImageFeatures::new(kept))
        }
    }

    /// What the language model reads of pictures, one for each prompt.
    pub(super) fn features(
        &self,
        looked: &Looked,
        instructions: Option<&PromptRows>,
        cancel: &CancelToken,
        timings: &mut Timings,
    ) -> Result<ImageFeatures, Blip2Error> {
        match looked {
            Looked::Gathered(features) => Ok(features.clone()),
            Looked::Encoded { image_embeds, .. } => {
                let instructions = instructions.ok_or_else(|| {
                    let reason = "the model has no tokenizer for its Q-Former".into();
                    Blip2Error::Instructions { reason }
                })?;
                let Loaded { model, device, .. } = self.inner.as_ref();
                stage(device, cancel, "qformer", &mut timings.qformer, || {
                    model.query_with(image_embeds.clone(), instructions)
                })
            }
        }
    }
}
