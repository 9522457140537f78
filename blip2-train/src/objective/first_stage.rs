//! The three objectives of BLIP-2's first stage together.

use blip2_core::model::{Blip2ForPretraining, EncodedImages, PromptRows};
use blip2_kernels::in_pool;
use burn::tensor::Tensor;

use super::{
    contrastive::contrastive_loss,
    cross_entropy::{IGNORED, cross_entropy},
    matching::{HardNegatives, matching_loss},
};
use crate::error::TrainError;

/// Pictures and their texts, pair by pair.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// `[batch, 3, height, width]`
    pub pixel_values: Tensor<4>,
    /// The texts as they are read, each of which begins with a token that stands for the whole.
    pub texts: PromptRows,
    /// The token that a text begins with in place of that one where it is written (`[DEC]`).
    pub writes: u32,
    /// What each pair shows, if pairs of a batch may show the same: such are no negatives of one
    /// another. All differ if it is empty.
    pub subjects: Vec<u64>,
}

/// The losses of a batch of [`Pairs`], each `[1]`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FirstStageLosses {
    /// Image-text contrast (ITC).
    pub contrast: Tensor<1>,
    /// Image-text matching (ITM).
    pub matching: Tensor<1>,
    /// Image-grounded text generation (ITG).
    pub generation: Tensor<1>,
}

impl FirstStageLosses {
    /// Their sum, which the first stage minimises.
    pub fn sum(&self) -> Tensor<1> {
        self.contrast.clone() + self.matching.clone() + self.generation.clone()
    }
}

/// What labels are smoothed by, in the contrast and in the text, as LAVIS has it.
pub const SMOOTHING: f64 = 0.1;

/// All three losses of the first stage (Li et al., 2023, section 3.2; `Blip2Qformer.forward` of
/// LAVIS). Hard negatives are mined in the batch: `seed` draws them.
///
/// # Errors
///
/// [`TrainError::Batch`] for pairs that do not go together, and as the model's own stages.
pub fn first_stage_losses(
    model: &Blip2ForPretraining,
    pairs: &Pairs,
    seed: u64,
) -> Result<FirstStageLosses, TrainError> {
    in_pool(|| {
        let images = model
            .retrieval()
            .encode_images(pairs.pixel_values.clone())?;
        let found = contrast_and_generation(model, &images, pairs)?;
        let negatives = HardNegatives::mine(&found.logits, &pairs.subjects, seed)?;
        Ok(FirstStageLosses {
            matching: matching(model, &images, &pairs.texts, &negatives)?,
            contrast: found.contrast,
            generation: found.generation,
        })
    })
}

/// The losses of the pass that writes texts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ContrastAndGeneration {
    /// Image-text contrast (ITC), `[1]`.
    pub contrast: Tensor<1>,
    /// Image-grounded text generation (ITG), `[1]`.
    pub generation: Tensor<1>,
    /// The logits of the contrast, `[image][text]`, which say which negatives are hard.
    pub logits: Vec<Vec<f32>>,
}

/// The losses that need a single pass over the pictures: the queries do not see the text that is
/// written, so they are those of the contrast too.
///
/// # Errors
///
/// [`TrainError::Batch`] for pairs that do not go together, and as the model's own stages.
pub fn contrast_and_generation(
    model: &Blip2ForPretraining,
    images: &EncodedImages,
    pairs: &Pairs,
) -> Result<ContrastAndGeneration, TrainError> {
    let written = beginning_with(pairs.writes, &pairs.texts)?;
    let output = model.write(images, &written)?;
    let retrieval = model.retrieval();
    let texts = retrieval.project_texts(&retrieval.encode_texts(&pairs.texts)?);
    let similarities = output.images.similarity(&texts);
    let logits = similarities / model.temperature().unsqueeze();
    let contrast = contrastive_loss(logits.clone(), &pairs.subjects, SMOOTHING)?;
    let generation = generation_loss(output.logits, &written)?;
    let [_, count] = logits.dims();
    let flat: Vec<f32> = logits.into_data().iter::<f32>().collect();
    Ok(ContrastAndGeneration {
        contrast,
        generation,
        logits: flat.chunks(count).map(<[f32]>::to_vec).collect(),
    })
}

/// The matching loss of pairs that match, each text with another picture, and each picture with
/// another text.
///
/// # Errors
///
/// As the model's own stages.
pub fn matching(
    model: &Blip2ForPretraining,
    images: &EncodedImages,
    texts: &PromptRows,
    negatives: &HardNegatives,
) -> Result<Tensor<1>, TrainError> {
    let count = texts.len();
    let (pictures, rows): (Vec<usize>, Vec<usize>) = judged(count, negatives).into_iter().unzip();
    let retrieval = model.retrieval();
    let fused = retrieval.fuse_with(images, &pictures, &texts.select(&rows)?)?;
    matching_loss(retrieval.match_logits(fused), count)
}

/// The pairs that are judged, each a picture and a text: first those that match.
pub(super) fn judged(count: usize, negatives: &HardNegatives) -> Vec<(usize, usize)> {
    let images = negatives.images.iter().enumerate();
    let images = images.filter_map(|(text, image)| Some(((*image)?, text)));
    let texts = negatives.texts.iter().enumerate();
    let texts = texts.filter_map(|(image, text)| Some((image, (*text)?)));
    let matching = (0..count).map(|place| (place, place));
    matching.chain(images).chain(texts).collect()
}

/// How many tokens of texts are written: all but the one that each begins with.
pub(super) fn written_tokens(texts: &PromptRows) -> usize {
    let rows = texts.mask().iter();
    let counted = rows.map(|row| row.iter().skip(1).filter(|counts| **counts).count());
    counted.sum()
}

/// The loss of texts that were written, each position against the next token; padding does not
/// count.
pub(super) fn generation_loss(
    logits: Tensor<3>,
    texts: &PromptRows,
) -> Result<Tensor<1>, TrainError> {
    let rows = texts.ids().iter().zip(texts.mask());
    let labels: Vec<Vec<i64>> = rows
        .map(|(ids, mask)| {
            let label =
                |(&id, &counts): (&u32, &bool)| if counts { i64::from(id) } else { IGNORED };
            ids.iter().zip(mask).map(label).skip(1).collect()
        })
        .collect();
    let [_, seq, _] = logits.dims();
    cross_entropy(
        logits.narrow(1, 0, seq.saturating_sub(1)),
        &labels,
        SMOOTHING,
    )
}

pub(super) fn beginning_with(token: u32, texts: &PromptRows) -> Result<PromptRows, TrainError> {
    let mut ids = texts.ids().to_vec();
    for row in &mut ids {
        if let Some(first) = row.first_mut() {
            *first = token;
        }
    }
    Ok(PromptRows::new(ids, texts.mask().to_vec())?)
}
