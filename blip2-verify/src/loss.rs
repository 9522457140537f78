//! The language model's loss, as the reference records it.

use burn::tensor::Tensor;

/// The mean cross-entropy of `logits` `[batch, seq, vocab]` against labels `[batch][seq]`; those
/// below zero are ignored.
pub(crate) fn cross_entropy(logits: Tensor<3>, labels: &[Vec<i64>]) -> Result<f32, String> {
    let [_, _, vocab] = logits.dims();
    let logits = logits
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|error| format!("{error:?}"))?;
    let labels: Vec<i64> = labels.iter().flatten().copied().collect();
    if vocab == 0 || logits.len() != labels.len() * vocab {
        return Err(format!(
            "{} logits for {} labels",
            logits.len(),
            labels.len()
        ));
    }
    let (mut sum, mut count) = (0f64, 0);
    for (row, label) in logits.chunks_exact(vocab).zip(labels) {
        let Ok(label) = usize::try_from(label) else {
            continue;
        };
        let Some(&chosen) = row.get(label) else {
            return Err(format!(
                "the label {label} is outside the vocabulary of {vocab}"
            ));
        };
        let largest = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let total: f64 = row
            .iter()
            .map(|&logit| f64::from(logit - largest).exp())
            .sum();
        sum += f64::from(largest) + total.ln() - f64::from(chosen);
        count += 1;
    }
    if count == 0 {
        return Err("every label is ignored".into());
    }
    Ok((sum / f64::from(count)) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn even_logits_lose_the_logarithm_of_the_vocabulary() {
        let logits = Tensor::<3>::zeros([1, 2, 8], &Device::flex());
        let loss = cross_entropy(logits.clone(), &[vec![3, -100]]).unwrap();
        assert!((loss - 8f32.ln()).abs() < 1e-6);
        assert!(cross_entropy(logits.clone(), &[vec![-100, -100]]).is_err());
        assert!(cross_entropy(logits.clone(), &[vec![8, 0]]).is_err());
        assert!(cross_entropy(logits, &[vec![1]]).is_err());
    }
}
