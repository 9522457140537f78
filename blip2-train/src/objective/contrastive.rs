//! Image-text contrast (ITC).

use burn::tensor::Tensor;

use super::cross_entropy;
use crate::TrainError;

/// The contrastive loss of pictures and their texts, row by row, against all others of the batch
/// (Li et al., 2023, section 3.2): each picture must find its text and each text its picture, by the
/// best of the picture's queries.
///
/// `temperature` divides the cosines; LAVIS learns it from 0.07 on and smooths labels by 0.1.
///
/// # Shapes
///
/// - images: `[batch, queries, dim]`, of length 1
/// - texts: `[batch, dim]`, of length 1
/// - temperature and output: `[1]`
///
/// # Errors
///
/// [`TrainError::Batch`] if there is not one text for each picture.
pub fn contrastive_loss(
    images: Tensor<3>,
    texts: Tensor<2>,
    temperature: Tensor<1>,
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    let ([batch, queries, dim], [count, _]) = (images.dims(), texts.dims());
    if batch != count {
        let reason = format!("{batch} pictures for {count} texts");
        return Err(TrainError::Batch { reason });
    }
    let cosines = images
        .reshape([batch * queries, dim])
        .matmul(texts.transpose())
        .reshape([batch, queries, count]);
    let similarities: Tensor<2> = cosines.max_dim(1).squeeze_dim(1);
    let of_images = similarities / temperature.unsqueeze();
    let of_texts = of_images.clone().transpose();
    let labels: Vec<Vec<i64>> = (0..batch as i64).map(|row| vec![row]).collect();
    let loss = |similarities: Tensor<2>| {
        let logits = similarities.reshape([batch, 1, batch]);
        cross_entropy(logits, &labels, smoothing)
    };
    Ok((loss(of_images)? + loss(of_texts)?) * 0.5)
}
