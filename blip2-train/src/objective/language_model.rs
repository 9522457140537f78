//! The language model's loss on answers after pictures and prompts.

use blip2_core::{
    LabeledRows,
    model::{Blip2ForConditionalGeneration, ImageFeatures, PromptRows},
};
use blip2_lm::LanguageModel;
use burn::tensor::{Int, Tensor, TensorData};

use super::{IGNORED, cross_entropy};
use crate::TrainError;

/// Pictures, prompts about them, and what is to be written.
///
/// A decoder-only model (OPT, LLaMA) has the answers behind its prompts in the same rows, and labels
/// of that shape, in which only the answers' places count. An encoder-decoder (T5) reads the prompts
/// and has labels of their own length.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[pictures, 3, height, width]`
    pub pixel_values: Tensor<4>,
    /// Each row's picture. Pictures of several rows are encoded once.
    pub pictures: Vec<usize>,
    /// The rows that the language model reads.
    pub rows: PromptRows,
    /// The rows that a Q-Former reads that reads prompts (InstructBLIP).
    pub instructions: Option<PromptRows>,
    /// What is to be written, `[batch][seq]`; places that do not count are negative.
    pub labels: Vec<Vec<i64>>,
}

impl Batch {
    /// Labelled rows about pictures: row `i` is about picture `pictures[i]`.
    pub fn new(pixel_values: Tensor<4>, pictures: Vec<usize>, rows: LabeledRows) -> Self {
        Self {
            pixel_values,
            pictures,
            rows: rows.rows,
            instructions: rows.instructions,
            labels: rows.labels,
        }
    }
}

/// The mean cross-entropy of the tokens that are to be written, as the reference's `loss`. So much of
/// each label's weight as `smoothing` says is spread over the vocabulary.
///
/// # Errors
///
/// [`TrainError::Batch`] for parts of a batch that do not go together, and as the model's own
/// stages.
pub fn language_model_loss(
    model: &Blip2ForConditionalGeneration,
    batch: &Batch,
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    let image_embeds = model.encode_image(batch.pixel_values.clone())?;
    let features = features(model, image_embeds, batch)?;
    let (embeds, mask) = model.inputs_embeds(&features, &batch.rows)?;
    let added = embeds.dims()[1] - batch.rows.ids()[0].len();
    match model.language_model() {
        LanguageModel::Opt(opt) => next_token_loss(
            opt.forward(embeds, &mask, false)?.logits,
            &batch.labels,
            added,
            smoothing,
        ),
        LanguageModel::Llama(llama) => {
            let output = llama.forward_counting_padding(embeds, &mask, false)?;
            next_token_loss(output.logits, &batch.labels, added, smoothing)
        }
        LanguageModel::T5(t5) => {
            let encoded = t5.encode(embeds, &mask, false)?;
            let start = model.decoder_start().unwrap_or_default();
            let ids = shifted(&batch.labels, start, model.pad_token().unwrap_or(start));
            cross_entropy(t5.decode(&encoded, &ids)?, &batch.labels, smoothing)
        }
        _ => Err(TrainError::Batch {
            reason: "the language model is of no kind that is trained".into(),
        }),
    }
}

/// What the language model is given of each row's picture.
fn features(
    model: &Blip2ForConditionalGeneration,
    image_embeds: Tensor<3>,
    batch: &Batch,
) -> Result<ImageFeatures, TrainError> {
    let frames = model.num_frames();
    let pictures = image_embeds.dims()[0] / frames;
    if let Some(picture) = batch.pictures.iter().find(|&&picture| picture >= pictures) {
        let reason = format!("a row is about picture {picture} of {pictures}");
        return Err(TrainError::Batch { reason });
    }
    let Some(instructions) = &batch.instructions else {
        return Ok(model.query(image_embeds)?.select(&batch.pictures));
    };
    let own = |&picture: &usize| (picture * frames..(picture + 1) * frames).map(|n| n as i64);
    let places: Vec<i64> = batch.pictures.iter().flat_map(own).collect();
    let shape = [places.len()];
    let places =
        Tensor::<1, Int>::from_data(TensorData::new(places, shape), &image_embeds.device());
    Ok(model.query_with(image_embeds.select(0, places), instructions)?)
}

/// Each position's logits against the next position's label. Where features were put before the
/// text, `added` places stand before the labels.
fn next_token_loss(
    logits: Tensor<3>,
    labels: &[Vec<i64>],
    added: usize,
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    let [_, seq, _] = logits.dims();
    let next: Vec<Vec<i64>> = labels
        .iter()
        .map(|row| {
            let before = std::iter::repeat_n(IGNORED, added);
            before.chain(row.iter().copied()).skip(1).collect()
        })
        .collect();
    cross_entropy(logits.narrow(1, 0, seq.saturating_sub(1)), &next, smoothing)
}

/// What the decoder reads while it writes the labels.
fn shifted(labels: &[Vec<i64>], start: u32, pad: u32) -> Vec<Vec<u32>> {
    let row = |labels: &Vec<i64>| {
        let kept = labels.len().saturating_sub(1);
        let ids = labels[..kept]
            .iter()
            .map(|&label| u32::try_from(label).unwrap_or(pad));
        std::iter::once(start).chain(ids).collect()
    };
    labels.iter().map(row).collect()
}
