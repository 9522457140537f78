//! What every BLIP-1 model has beside its weights.

use blip2_io::{
    LoadReport, Tokenizer,
    config::BlipConfig,
    preprocessing::{DecodeOptions, ImageProcessor},
};
use blip2_lm::{
    LmError,
    blip_text::BlipTextSession,
    generate::{BoxError, GenerationConfig, Generator, TokenDecoder},
};
use blip2_vision::{VisionModel, VisionOptions};
use burn::tensor::{Device, Tensor};

use crate::{
    Answer, Blip2Error, Options, Picture, Timings,
    pipeline::{Timed, decode, pixel_values, stage},
};

/// Everything that is not the model.
#[derive(Debug)]
pub struct Parts {
    pub(super) config: BlipConfig,
    pub(super) tokenizer: Tokenizer,
    pub(super) processor: ImageProcessor,
    pub(super) decode: DecodeOptions,
    pub(super) generation: GenerationConfig,
    pub(super) device: Device,
    pub(super) report: LoadReport,
}

impl Parts {
    /// Encodes pictures, `[batch, patches + 1, vision_hidden]`.
    pub(super) fn encode(
        &self,
        vision_model: &VisionModel,
        pictures: &[Picture<'_>],
        timings: &mut Timings,
    ) -> Result<Tensor<3>, Blip2Error> {
        let pixel_values = stage(&self.device, "preprocess", &mut timings.preprocess, || {
            let transparency = self.decode.transparency;
            pixel_values(pictures, 1, &self.processor, transparency, &self.device)
        })?;
        stage(&self.device, "vision", &mut timings.vision, || {
            let output = vision_model.forward(pixel_values, &VisionOptions::default())?;
            Ok(output.last_hidden_state)
        })
    }

    /// The ids of a text with its special tokens.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, Blip2Error> {
        if let Some(token) = self.tokenizer.special_token_in(text) {
            return Err(Blip2Error::SpecialTokenInText { token });
        }
        let ids = self.tokenizer.encode(text)?;
        let context = self.config.text_config.max_position_embeddings;
        if ids.len() > context {
            let (row, tokens) = (0, ids.len());
            let error = LmError::ContextTooLong {
                row,
                tokens,
                context,
            };
            return Err(error.into());
        }
        Ok(ids)
    }

    /// A call's arguments over the model's.
    pub(super) fn generation(&self, options: &Options) -> GenerationConfig {
        options.generation_over(&self.generation)
    }

    /// A generator for a call, and how many tokens it may write behind `beginning` ones.
    pub(super) fn generator(
        &self,
        options: &Options,
        beginning: usize,
    ) -> Result<(Generator<'_>, usize), Blip2Error> {
        let generator = options.generator(self.generation(options), self)?;
        let new_tokens = generator.config().new_tokens_after(beginning)?;
        Ok((generator, new_tokens))
    }

    /// Writes to the end.
    pub(super) fn write(
        &self,
        generator: &Generator<'_>,
        session: BlipTextSession<'_>,
        histories: &[Vec<u32>],
        timings: Timings,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let text = |ids: &[u32]| Ok(self.tokenizer.decode(ids, true)?);
        let mut session = Timed::new(session, std::time::Duration::ZERO);
        decode(generator, &mut session, histories, text, timings)
    }
}

impl TokenDecoder for Parts {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}

/// Gives the methods that every member has.
macro_rules! common {
    ($member:ident, $kind:expr, $model:ty $(, $field:ident)*) => {
        impl $member {
            /// Loads a Hugging Face checkpoint folder on the default CPU device and in the
            /// checkpoint's own precision.
            ///
            /// # Errors
            ///
            /// [`Blip2Error`] naming the file, key or tensors at fault: everything that is missing
            /// or misshapen is listed. [`Blip2Error::WrongModel`] for a folder that holds another
            /// member of the family.
            pub fn from_pretrained(
                folder: impl AsRef<std::path::Path>,
            ) -> Result<Self, Blip2Error> {
                Self::builder(folder).load()
            }

            /// Loads a checkpoint folder with other than the default settings.
            pub fn builder(folder: impl AsRef<std::path::Path>) -> super::BlipBuilder<Self> {
                super::BlipBuilder::at(folder.as_ref())
            }

            /// Loads a checkpoint that is open already, or that is held in memory.
            pub fn builder_from(folder: blip2_io::CheckpointFolder) -> super::BlipBuilder<Self> {
                super::BlipBuilder::of(folder)
            }

            /// Decodes a picture file within the model's limits, for the calls below.
            ///
            /// # Errors
            ///
            /// [`Blip2Error::Image`] naming the file and what is wrong with it.
            pub fn open(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> Result<image::RgbImage, Blip2Error> {
                Ok(blip2_io::preprocessing::decode_file(path, &self.parts.decode)?)
            }

            /// The model on tensors.
            pub fn model(&self) -> &$model {
                &self.model
            }

            /// The checkpoint's configuration.
            pub fn config(&self) -> &blip2_io::config::BlipConfig {
                &self.parts.config
            }

            /// The device that holds the model.
            pub fn device(&self) -> &burn::tensor::Device {
                &self.parts.device
            }

            /// What loading found beside the weights that it wanted.
            pub fn load_report(&self) -> &blip2_io::LoadReport {
                &self.parts.report
            }
        }

        impl super::builder::Member for $member {
            const KIND: blip2_io::config::ModelKind = $kind;
            type Model = $model;

            fn load_model(
                config: &blip2_io::config::BlipConfig,
                weights: &blip2_kernels::Weights<'_>,
                precision: crate::PrecisionPlan,
            ) -> Result<Self::Model, Blip2Error> {
                <$model>::load(config, weights, precision)
            }

            fn assemble(model: Self::Model, parts: super::parts::Parts) -> Self {
                Self {
                    model,
                    parts,
                    $($field: Default::default(),)*
                }
            }
        }
    };
}
pub(super) use common;

/// The only result of a batch of one.
pub(super) fn one<T>(results: Vec<T>) -> Result<T, Blip2Error> {
    results.into_iter().next().ok_or_else(|| Blip2Error::Rows {
        reason: "no result".into(),
    })
}

/// Runs a batch whose rows must have one length each: in groups of the same, whose results go back
/// to their places.
pub(super) fn by_length<T>(
    rows: &[Vec<u32>],
    mut run: impl FnMut(&[usize]) -> Result<Vec<T>, Blip2Error>,
) -> Result<Vec<T>, Blip2Error> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let same = |group: &&mut Vec<usize>| rows[group[0]].len() == row.len();
        match groups.iter_mut().find(same) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    let mut results = Vec::with_capacity(rows.len());
    for group in &groups {
        results.extend(group.iter().copied().zip(run(group)?));
    }
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_length_run_together_and_results_stay_in_order() {
        let rows = [vec![1], vec![2, 3], vec![4], vec![5, 6], vec![7, 8, 9]];
        let mut seen = Vec::new();
        let results = by_length(&rows, |group| {
            seen.push(group.to_vec());
            Ok(group.iter().map(|&row| rows[row][0]).collect())
        });
        assert_eq!(results.unwrap(), [1, 2, 4, 5, 7]);
        assert_eq!(seen, [vec![0, 2], vec![1, 3], vec![4]]);
    }
}
