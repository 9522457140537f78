//! Image-text contrast (ITC).

use burn::tensor::{Tensor, TensorData, activation::log_softmax};

use crate::error::TrainError;

/// The contrastive loss of pictures and their texts, row by row, against all others of the batch
/// (Li et al., 2023, section 3.2): each picture must find its text and each text its picture.
///
/// With `subjects`, pairs of one subject are each other's right answers too, all alike (as LAVIS does
/// by the pictures' ids); without, all pairs differ. `smoothing` is the part of the labels' weight that
/// is spread over all pairs.
///
/// # Shapes
///
/// - logits: `[images, texts]`, cosines divided by a temperature
/// - output: `[1]`
///
/// # Errors
///
/// [`TrainError::Batch`] if there is not one text, and one subject, for each picture.
pub fn contrastive_loss(
    logits: Tensor<2>,
    subjects: &[u64],
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    let [images, texts] = logits.dims();
    let fault = |reason| Err(TrainError::Batch { reason });
    if images != texts {
        return fault(format!("{images} pictures for {texts} texts"));
    }
    if !subjects.is_empty() && subjects.len() != images {
        return fault(format!("{images} pictures for {} subjects", subjects.len()));
    }
    let same = |row: usize, column: usize| match subjects {
        [] => row == column,
        subjects => subjects[row] == subjects[column],
    };
    let mut targets = Vec::with_capacity(images * images);
    for row in 0..images {
        let right = (0..images).filter(|&column| same(row, column)).count();
        let each = (1.0 - smoothing) / right as f64;
        let spread = smoothing / images as f64;
        targets.extend((0..images).map(|column| {
            let own = if same(row, column) { each } else { 0.0 };
            (own + spread) as f32
        }));
    }
    let device = logits.device();
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [images, images]), &device);
    let loss = |logits: Tensor<2>| {
        let found = log_softmax(logits, 1) * targets.clone();
        found.sum_dim(1).mean().neg()
    };
    Ok((loss(logits.clone()) + loss(logits.transpose())) * 0.5)
}
