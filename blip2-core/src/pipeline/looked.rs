//! What is kept of pictures that were looked at.

use burn::tensor::{Tensor, TensorData};

use super::{Blip2Pipeline, Timings, run::Prepared};
use crate::{Blip2Error, model::ImageFeatures};

/// Pictures as far as they can be encoded without knowing what will be asked.
#[derive(Debug, Clone)]
pub(super) enum Looked {
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

impl Blip2Pipeline {
    /// The shape of what is kept of one picture.
    pub(super) fn looked_shape(&self) -> [usize; 3] {
        let model = &self.model;
        if model.reads_instructions() {
            let patch = self.config.vision_config.patch_size;
            let patches: usize = self.image_size().map(|side| side / patch).iter().product();
            let width = self.config.vision_config.hidden_size;
            [model.num_frames(), patches + 1, width]
        } else {
            let width = model.language_model().embedding_dim();
            [1, model.num_query_tokens(), width]
        }
    }

    /// Takes up what was kept of a picture.
    pub(super) fn looked(&self, kept: Tensor<3>) -> Looked {
        if self.model.reads_instructions() {
            Looked::Encoded {
                image_embeds: kept,
                frames: self.model.num_frames(),
            }
        } else {
            Looked::Gathered(ImageFeatures::new(kept))
        }
    }

    /// What the language model reads of pictures, one for each prompt.
    pub(super) fn features(
        &self,
        looked: &Looked,
        prepared: &Prepared<'_>,
        timings: &mut Timings,
    ) -> Result<ImageFeatures, Blip2Error> {
        match looked {
            Looked::Gathered(features) => Ok(features.clone()),
            Looked::Encoded { image_embeds, .. } => {
                let instructions = prepared.instructions.as_ref().ok_or_else(|| {
                    let reason = "the model has no tokenizer for its Q-Former".into();
                    Blip2Error::Instructions { reason }
                })?;
                self.stage("qformer", &mut timings.qformer, || {
                    self.model.query_with(image_embeds.clone(), instructions)
                })
            }
        }
    }
}
