//! Cross-entropy, with smoothed labels.

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};

use crate::error::TrainError;

/// The label of a position that does not count.
pub const IGNORED: i64 = -100;

/// The mean cross-entropy of logits against labels; labels below zero do not count.
/// `smoothing` is the part of each label's weight that is spread over all classes evenly (Szegedy et
/// al., 2016), as in `torch.nn.CrossEntropyLoss`.
///
/// # Shapes
///
/// - logits: `[batch, seq, classes]`
/// - labels: `[batch][seq]`
/// - output: `[1]`
///
/// # Errors
///
/// [`TrainError::Batch`] for labels of another shape or beyond the classes, and if none counts;
/// [`TrainError::Argument`] for a smoothing that is no part.
pub fn cross_entropy(
    logits: Tensor<3>,
    labels: &[Vec<i64>],
    smoothing: f64,
) -> Result<Tensor<1>, TrainError> {
    let fault = |reason| Err(TrainError::Batch { reason });
    if !(0.0..=1.0).contains(&smoothing) {
        let reason = "must be between 0 and 1";
        return Err(TrainError::argument("label_smoothing", smoothing, reason));
    }
    let [batch, seq, classes] = logits.dims();
    if labels.len() != batch || labels.iter().any(|row| row.len() != seq) {
        return fault(format!(
            "the labels are no [{batch}, {seq}] as the logits are"
        ));
    }
    let flat = labels.iter().flatten().enumerate();
    let (places, targets): (Vec<i64>, Vec<i64>) = flat
        .filter(|(_, label)| **label >= 0)
        .map(|(place, label)| (place as i64, *label))
        .unzip();
    if let Some(label) = targets.iter().find(|label| **label as usize >= classes) {
        return fault(format!("the label {label} is none of {classes} classes"));
    }
    let count = places.len();
    if count == 0 {
        return fault("every label is ignored".into());
    }
    let device = logits.device();
    let ints =
        |values: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device);
    // Only what counts goes on: a vocabulary is wide.
    let chosen = logits
        .reshape([batch * seq, classes])
        .select(0, ints(places));
    let log_probabilities = log_softmax(chosen, 1);
    let of_labels = log_probabilities
        .clone()
        .gather(1, ints(targets).reshape([count, 1]));
    let loss = of_labels.mean().neg();
    if smoothing == 0.0 {
        return Ok(loss);
    }
    let even = log_probabilities.mean().neg();
    Ok(loss * (1.0 - smoothing) + even * smoothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn value(loss: Tensor<1>) -> f32 {
        loss.into_scalar::<f32>()
    }

    #[test]
    fn ignored_labels_do_not_count_and_smoothing_spreads() {
        let device = Device::flex();
        let logits = Tensor::<3>::from_floats([[[2.0, 0.0, -1.0], [9.0, 9.0, 9.0]]], &device);
        let total = 2f32.exp() + 1.0 + (-1f32).exp();
        let exact = total.ln() - 2.0;
        let loss = cross_entropy(logits.clone(), &[vec![0, IGNORED]], 0.0).unwrap();
        assert!((value(loss) - exact).abs() < 1e-6);
        let even = total.ln() - 1.0 / 3.0;
        let loss = cross_entropy(logits.clone(), &[vec![0, IGNORED]], 0.1).unwrap();
        assert!((value(loss) - (0.9 * exact + 0.1 * even)).abs() < 1e-6);
        for smoothing in [-0.5, 2.0, f64::NAN] {
            assert!(cross_entropy(logits.clone(), &[vec![0, IGNORED]], smoothing).is_err());
        }
        for labels in [
            vec![vec![IGNORED; 2]],
            vec![vec![3, 0]],
            vec![vec![0]],
            vec![],
        ] {
            assert!(
                cross_entropy(logits.clone(), &labels, 0.0).is_err(),
                "{labels:?}"
            );
        }
    }
}
