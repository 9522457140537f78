//! The language model's loss on answers after pictures and prompts.

use blip2_core::{
    LabeledRows,
    model::{Blip2ForConditionalGeneration, ImageFeatures, PromptRows},
};
use blip2_kernels::{in_pool, share};
use blip2_lm::{Keep, LanguageModel};
use burn::tensor::{Int, Tensor, TensorData};

use super::cross_entropy::cross_entropy;
use crate::error::TrainError;

/// Pictures, prompts about them, and what is to be written.
///
/// A decoder-only model (OPT, LLaMA) has the answers behind its prompts in the same rows, and labels
/// of that shape, in which only the answers' places count. An encoder-decoder (T5) reads the prompts
/// and has labels of their own length.
///
/// ```
/// use blip2_core::{AnswerRows, CheckpointFolder, burn::tensor::Tensor};
/// use blip2_train::objective::{Batch, language_model_loss};
/// use blip2_train::{Training, device_of};
///
/// let folder = CheckpointFolder::open("../blip2-cli/demo")?;
/// let trained = Training::of(&folder)?.bridge().load()?;
/// let rows = AnswerRows::of(&folder, None)?;
/// let rows = rows.questions(&[("what color is it?", "red"), ("what shape is it?", "circle")])?;
///
/// let pixel_values = Tensor::zeros([1, 3, 64, 64], &device_of(trained.model()));
/// let batch = Batch::new(pixel_values, vec![0, 0], rows); // both about one picture
/// let loss = language_model_loss(trained.model(), &batch, 0.0)?;
/// let gradients = trained.gradients(loss)?;
/// assert!(gradients.get("language_projection.weight").is_some()); // of the bridge …
/// assert!(gradients.names().all(|name| !name.starts_with("vision_model"))); // … and no more
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
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

/// The mean cross-entropy of the tokens that are to be written, as the reference's `loss`.
/// `smoothing` is the part of each label's weight that is spread over the vocabulary.
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
    in_pool(|| loss(model, batch, smoothing))
}

fn loss(
    model: &Blip2ForConditionalGeneration,
    batch: &Batch,
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    let image_embeds = share::over_pictures(|| model.encode_image(batch.pixel_values.clone()))?;
    let features = features(model, image_embeds, batch)?;
    let (embeds, mask) = model.inputs_embeds(&features, &batch.rows)?;
    match model.language_model() {
        LanguageModel::Decoder(decoder) => {
            let hidden = decoder.last_hidden_state_without_position_ids(embeds, &mask)?;
            next_token_loss(hidden, |hidden| decoder.logits(hidden), batch, smoothing)
        }
        LanguageModel::T5(t5) => {
            let encoded = t5.encode(embeds, &mask, Keep::NOTHING)?;
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
        let features = share::over_pictures(|| model.query(image_embeds))?;
        return Ok(features.select(&batch.pictures));
    };
    let own = |&picture: &usize| (picture * frames..(picture + 1) * frames).map(|n| n as i64);
    let places: Vec<i64> = batch.pictures.iter().flat_map(own).collect();
    let shape = [places.len()];
    let places =
        Tensor::<1, Int>::from_data(TensorData::new(places, shape), &image_embeds.device());
    Ok(model.query_with(image_embeds.select(0, places), instructions)?)
}

/// Each position's logits against the next position's label, of the positions that count alone: a
/// vocabulary is wide. Where features were put before the text, places stand before the labels.
fn next_token_loss(
    hidden: Tensor<3>,
    logits: impl Fn(Tensor<3>) -> Tensor<3>,
    batch: &Batch,
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    let [rows, seq, width] = hidden.dims();
    let reads = batch.rows.ids()[0].len();
    let fits = |labels: &Vec<i64>| labels.len() == reads;
    if batch.labels.len() != rows || !batch.labels.iter().all(fits) {
        let reason = format!("the labels are no [{rows}, {reads}] as the rows are");
        return Err(TrainError::Batch { reason });
    }
    let added = seq - reads;
    let labels = batch.labels.iter().enumerate().flat_map(|(row, labels)| {
        let places = labels.iter().enumerate();
        places.map(move |(place, &label)| (row * seq + added + place, label))
    });
    // The first place of a row follows on none.
    let counts = |(place, label): &(usize, i64)| *label >= 0 && place % seq > 0;
    let (before, labels): (Vec<i64>, Vec<i64>) = labels
        .filter(counts)
        .map(|(place, label)| (place as i64 - 1, label))
        .unzip();
    let count = before.len();
    if count == 0 {
        let reason = "every label is ignored".into();
        return Err(TrainError::Batch { reason });
    }
    let places: Vec<usize> = before.iter().map(|&place| place as usize).collect();
    let before = Tensor::<1, Int>::from_data(TensorData::new(before, [count]), &hidden.device());
    let hidden = hidden.reshape([rows * seq, width]).select(0, before);
    let hidden = hidden.reshape([1, count, width]);
    let logits = share::over_positions(&places, seq, || logits(hidden));
    cross_entropy(logits, &[labels], smoothing)
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
