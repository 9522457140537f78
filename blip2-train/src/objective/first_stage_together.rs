//! The objectives of the first stage over a batch that several processes see together.
//!
//! Contrast and hard negatives are of the whole batch. Every process computes the whole contrast of all
//! features, of which its own alone are recorded: the gradient for these is the whole one, and nothing
//! need be sent back. A pair of a text with a picture that is not its own is judged where the picture
//! is, since a text's tokens are known everywhere, so that no picture is sent either.

use std::ops::Range;

use blip2_core::model::{
    Blip2ForPretraining, EncodedImages, ProjectedImages, ProjectedTexts, PromptRows,
};
use blip2_kernels::{
    in_pool,
    share::{self, Rows},
};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{
    contrastive::contrastive_loss,
    first_stage::{
        FirstStageLosses, Pairs, SMOOTHING, beginning_with, generation_loss, judged, written_tokens,
    },
    matching::{HardNegatives, matching_loss},
};
use crate::{
    error::TrainError,
    group::{Group, agreed, together},
    trained::device_of,
};

/// This process's part of [`first_stage_losses`](super::first_stage_losses): their means over all
/// processes, each weighing by its pairs, are the losses of the whole batch. `None` without a pair of its
/// own.
///
/// `pairs` has the texts and subjects of all, and the pictures of the `own` ones.
pub(crate) fn first_stage_losses_together(
    model: &Blip2ForPretraining,
    pairs: &Pairs,
    own: Range<usize>,
    seed: u64,
    group: &dyn Group,
) -> Result<Option<FirstStageLosses>, TrainError> {
    let seen = together(group, in_pool(|| seen(model, pairs, &own)))?;
    let device = device_of(model);
    let features = Features::gathered(seen.as_ref(), &device, group)?;
    let (contrast, negatives) = contrast(model, &features, pairs, seed, group)?;
    let (Some(seen), Some(contrast)) = (seen, contrast) else {
        return Ok(None);
    };
    let (matching, judged, of) =
        in_pool(|| matching(model, &seen.images, pairs, &own, &negatives))?;
    let part = |own: usize, of: usize| own as f64 / of.max(1) as f64;
    // Each process's losses are weighed by its pairs.
    let rest = part(own.len(), pairs.texts.len()).recip();
    let tokens = part(seen.tokens, written_tokens(&pairs.texts));
    Ok(Some(FirstStageLosses {
        contrast: contrast * rest,
        matching: matching * (part(judged, of) * rest),
        generation: seen.generation * (tokens * rest),
    }))
}

/// What the own pairs are by themselves.
struct Seen {
    images: EncodedImages,
    projected: Tensor<3>,
    texts: Tensor<2>,
    generation: Tensor<1>,
    /// How many tokens the generation's loss is the mean of.
    tokens: usize,
}

fn seen(
    model: &Blip2ForPretraining,
    pairs: &Pairs,
    own: &Range<usize>,
) -> Result<Option<Seen>, TrainError> {
    if own.is_empty() {
        return Ok(None);
    }
    let retrieval = model.retrieval();
    let images = retrieval.encode_images(pairs.pixel_values.clone())?;
    let texts = pairs.texts.select(&own.clone().collect::<Vec<_>>())?;
    let written = beginning_with(pairs.writes, &texts)?;
    let output = model.write(&images, &written)?;
    let projected = retrieval.project_texts(&retrieval.encode_texts(&texts)?);
    Ok(Some(Seen {
        projected: output.images.tensor(),
        texts: projected.tensor(),
        generation: generation_loss(output.logits, &written)?,
        tokens: written_tokens(&written),
        images,
    }))
}

/// The features of all pairs; gradients are recorded of the own ones.
struct Features {
    images: ProjectedImages,
    texts: ProjectedTexts,
    /// The first process that has pairs.
    first: usize,
}

impl Features {
    fn gathered(
        own: Option<&Seen>,
        device: &Device,
        group: &dyn Group,
    ) -> Result<Self, TrainError> {
        // What is recorded, and what is not, goes through the same operations.
        let device = own.map_or_else(|| device.clone(), |own| own.projected.device());
        let shape = own.map_or([0; 3], |own| own.projected.dims());
        let shapes = agreed(group, Ok(shape))?;
        let mut bytes = Vec::new();
        if let Some(own) = own {
            bytes.extend_from_slice(values(own.projected.clone()).as_bytes());
            bytes.extend_from_slice(values(own.texts.clone()).as_bytes());
        }
        let mut images = Vec::new();
        let mut texts = Vec::new();
        let parts = group.gather(&bytes)?;
        for (rank, (shape, bytes)) in shapes.iter().zip(parts).enumerate() {
            let [pairs, queries, width] = *shape;
            if pairs == 0 {
                continue;
            }
            match own.filter(|_| rank == group.rank()) {
                Some(own) => {
                    images.push(own.projected.clone());
                    texts.push(own.texts.clone());
                }
                None => {
                    let numbers = floats(&bytes);
                    let (of_images, of_texts) = numbers.split_at(pairs * queries * width);
                    let data = TensorData::new(of_images.to_vec(), [pairs, queries, width]);
                    images.push(Tensor::from_data(data, &device));
                    let data = TensorData::new(of_texts.to_vec(), [pairs, width]);
                    texts.push(Tensor::from_data(data, &device));
                }
            }
        }
        let first = shapes.iter().position(|shape| shape[0] > 0);
        Ok(Self {
            images: ProjectedImages::of_unit(Tensor::cat(images, 0)),
            texts: ProjectedTexts::of_unit(Tensor::cat(texts, 0)),
            first: first.unwrap_or(0),
        })
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> TensorData {
    tensor.into_data().convert_dtype(DType::F32)
}

/// What another process's bytes stand for.
fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_ne_bytes(*word)).collect()
}

/// This process's part of the contrast, whose sum over all of them is the contrast, and the negatives.
fn contrast(
    model: &Blip2ForPretraining,
    features: &Features,
    pairs: &Pairs,
    seed: u64,
    group: &dyn Group,
) -> Result<(Option<Tensor<1>>, HardNegatives), TrainError> {
    let rank = group.rank();
    let computed = in_pool(|| {
        let similarities = features.images.similarity(&features.texts);
        // What all processes have in common has its gradient, and the loss its value, from one of them.
        let temperature = match rank == features.first {
            true => model.temperature(),
            false => Tensor::from_data(values(model.temperature()), &similarities.device()),
        };
        let logits = similarities / temperature.unsqueeze();
        let whole = contrastive_loss(logits.clone(), &pairs.subjects, SMOOTHING)?;
        let own = match rank == features.first {
            true => whole,
            false => whole.clone() - whole.detach(),
        };
        Ok((own, logits))
    });
    let drawn = computed.and_then(|(own, logits)| {
        let drawn = match rank {
            // Process 0 draws for all: two processors may round a logit differently.
            0 => Some(HardNegatives::mine(&square(logits), &pairs.subjects, seed)?),
            _ => None,
        };
        Ok((own, drawn))
    });
    let (own, drawn) = match drawn {
        Ok((own, drawn)) => (
            Some(own),
            Ok(drawn.map(|drawn| (drawn.images, drawn.texts))),
        ),
        Err(error) => (None, Err(error)),
    };
    let drawn = agreed(group, drawn)?.into_iter().next().flatten();
    let (images, texts) = drawn.ok_or_else(|| TrainError::Group {
        reason: "process 0 has drawn no negatives".into(),
    })?;
    Ok((own, HardNegatives { images, texts }))
}

fn square(logits: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, count] = logits.dims();
    let flat: Vec<f32> = logits.into_data().iter::<f32>().collect();
    flat.chunks(count.max(1)).map(<[f32]>::to_vec).collect()
}

/// The matching loss of the pairs whose pictures are here, how many these are, and how many there are
/// altogether.
fn matching(
    model: &Blip2ForPretraining,
    images: &EncodedImages,
    pairs: &Pairs,
    own: &Range<usize>,
    negatives: &HardNegatives,
) -> Result<(Tensor<1>, usize, usize), TrainError> {
    let all = judged(pairs.texts.len(), negatives);
    let here = all.iter().enumerate();
    let here: Vec<_> = here.filter(|(_, (image, _))| own.contains(image)).collect();
    let places: Vec<usize> = here.iter().map(|(place, _)| *place).collect();
    let pictures: Vec<usize> = here
        .iter()
        .map(|(_, (image, _))| image - own.start)
        .collect();
    let texts: Vec<usize> = here.iter().map(|(_, (_, text))| *text).collect();
    let texts: PromptRows = pairs.texts.select(&texts)?;
    let rows = Rows::new(places, all.len());
    let retrieval = model.retrieval();
    let fused = share::during(rows.clone(), rows, || {
        retrieval.fuse_with(images, &pictures, &texts)
    })?;
    let loss = matching_loss(retrieval.match_logits(fused), own.len())?;
    Ok((loss, pictures.len(), all.len()))
}
