//! BLIP-1's losses on what its decoder writes (Li et al., 2022).

use blip2_core::{
    Blip2Error,
    model::{BlipForConditionalGeneration, BlipForQuestionAnswering, PromptRows},
};
use blip2_kernels::{in_pool, share};
use blip2_lm::blip_text::BlipTextLmHeadModel;
use blip2_vision::{VisionModel, VisionOptions};
use burn::tensor::{Int, Tensor, TensorData};

use super::{cross_entropy::cross_entropy, language_model::Batch};
use crate::error::TrainError;

/// The mean cross-entropy of answers' tokens, as the `loss` of `BlipForQuestionAnswering`: the rows of
/// the batch are questions, and its labels are also what the decoder reads, so that their first token
/// is read and not written. `smoothing` is the part of each label's weight that is spread over the
/// vocabulary; the reference takes `text_config.label_smoothing`.
///
/// ```
/// use blip2_core::{AnswerRows, CheckpointFolder, burn::tensor::Tensor};
/// use blip2_train::objective::{Batch, blip1_answer_loss};
/// use blip2_train::{Training, device_of};
///
/// let folder = CheckpointFolder::open("../fixtures/blip1_vqa")?;
/// let trained = Training::of(&folder)?.part("text_decoder").load_blip1_answerer()?;
/// let rows = AnswerRows::of(&folder, None)?;
/// let rows = rows.questions(&[("what color is it?", "red"), ("what shape is it?", "circle")])?;
///
/// let pixel_values = Tensor::zeros([1, 3, 48, 48], &device_of(trained.model()));
/// let batch = Batch::new(pixel_values, vec![0, 0], rows); // both about one picture
/// let loss = blip1_answer_loss(trained.model(), &batch, 0.0)?;
/// assert!(trained.gradients(loss)?.norm() > 0.0);
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
///
/// # Errors
///
/// [`TrainError::Batch`] for parts of a batch that do not go together, and as the model's own
/// stages.
pub fn blip1_answer_loss(
    model: &BlipForQuestionAnswering,
    batch: &Batch,
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    in_pool(|| {
        let image = seen(model.vision_model(), batch)?;
        let rows = &batch.rows;
        let encoder = model.text_encoder();
        let question = encoder.encode(rows.ids(), rows.mask(), Some(&image))?;
        let read = decoder_rows(&batch.labels)?;
        let decoder = model.text_decoder();
        written_loss(decoder, &read, &question, &batch.labels, smoothing)
    })
}

/// The mean cross-entropy of captions' tokens, as the `loss` of `BlipForConditionalGeneration`: each
/// position's logits against the next position's label. `smoothing` is as in [`blip1_answer_loss`].
///
/// # Errors
///
/// As [`blip1_answer_loss`].
pub fn blip1_caption_loss(
    model: &BlipForConditionalGeneration,
    batch: &Batch,
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    in_pool(|| {
        let image = seen(model.vision_model(), batch)?;
        let decoder = model.text_decoder();
        written_loss(decoder, &batch.rows, &image, &batch.labels, smoothing)
    })
}

/// Each row's picture, encoded.
fn seen(tower: &VisionModel, batch: &Batch) -> Result<Tensor<3>, TrainError> {
    let pixels = batch.pixel_values.clone();
    let count = pixels.dims()[0];
    let options = VisionOptions::default();
    let encoded = share::over_pictures(|| tower.forward(pixels, &options));
    let encoded = encoded.map_err(Blip2Error::from)?;
    if let Some(picture) = batch.pictures.iter().find(|&&picture| picture >= count) {
        let reason = format!("a row is about picture {picture} of {count}");
        return Err(TrainError::Batch { reason });
    }
    let places: Vec<i64> = batch.pictures.iter().map(|&place| place as i64).collect();
    let shape = [places.len()];
    let image = encoded.last_hidden_state;
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, shape), &image.device());
    Ok(image.select(0, places))
}

/// Labels as what the decoder reads. What does not count stands behind all that does, and no earlier
/// position sees it, so that any token will do in its place.
fn decoder_rows(labels: &[Vec<i64>]) -> Result<PromptRows, TrainError> {
    let id = |&label: &i64| u32::try_from(label).unwrap_or_default();
    let ids = labels.iter().map(|row| row.iter().map(id).collect());
    let mask = labels.iter().map(|row| vec![true; row.len()]);
    Ok(PromptRows::new(ids.collect(), mask.collect())?)
}

/// Each position's logits against the next one's label.
fn written_loss(
    decoder: &BlipTextLmHeadModel,
    read: &PromptRows,
    source: &Tensor<3>,
    labels: &[Vec<i64>],
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    let [rows, seq] = [read.len(), read.ids().first().map_or(0, Vec::len)];
    if labels.len() != rows || labels.iter().any(|row| row.len() != seq) || seq < 2 {
        let reason = format!("the labels are no [{rows}, {seq}] of at least two tokens");
        return Err(TrainError::Batch { reason });
    }
    let logits = decoder.forward(read.ids(), read.mask(), source)?;
    let next: Vec<Vec<i64>> = labels.iter().map(|row| row[1..].to_vec()).collect();
    cross_entropy(logits.narrow(1, 0, seq - 1), &next, smoothing)
}
