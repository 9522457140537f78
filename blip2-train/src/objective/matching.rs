//! Image-text matching (ITM), and the negatives that are hard to tell.

use burn::tensor::Tensor;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::cross_entropy;
use crate::TrainError;

/// For each pair of a batch another text and another picture that are easily taken for its own:
/// drawn by how similar they are (Li et al., 2021).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardNegatives {
    /// For each text, the row of a picture that is not its own.
    pub images: Vec<usize>,
    /// For each picture, the row of a text that is not its own.
    pub texts: Vec<usize>,
}

impl HardNegatives {
    /// Draws negatives by `similarities[image][text]`, which are logits: a softmax over all others
    /// of the batch says how likely each is drawn. The same seed draws the same.
    ///
    /// # Errors
    ///
    /// [`TrainError::Batch`] for fewer than two pairs, or similarities that are no square.
    pub fn mine(similarities: &[Vec<f32>], seed: u64) -> Result<Self, TrainError> {
        let count = similarities.len();
        if count < 2 || similarities.iter().any(|row| row.len() != count) {
            let reason = format!(
                "negatives are drawn from a square of at least two pairs, not from {count} rows"
            );
            return Err(TrainError::Batch { reason });
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let images = (0..count).map(|text| {
            let column: Vec<f32> = similarities.iter().map(|row| row[text]).collect();
            draw(&column, text, &mut random)
        });
        let images = images.collect();
        let texts = similarities.iter().enumerate();
        let texts = texts.map(|(image, row)| draw(row, image, &mut random));
        Ok(Self {
            texts: texts.collect(),
            images,
        })
    }
}

/// Draws one of all but `own`, each as likely as its softmax.
fn draw(logits: &[f32], own: usize, random: &mut ChaCha8Rng) -> usize {
    let others = || (0..logits.len()).filter(|&other| other != own);
    let largest = others()
        .map(|n| logits[n])
        .fold(f32::NEG_INFINITY, f32::max);
    let weight = |n: usize| f64::from(logits[n] - largest).exp();
    let all: f64 = others().map(weight).sum();
    let mut left = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * all;
    for other in others() {
        left -= weight(other);
        if left < 0.0 {
            return other;
        }
    }
    // Rounding, or logits that are no numbers: any other will do.
    others().next_back().unwrap_or(own)
}

/// The loss of the verdicts on pairs, of which the first `matching` match and the others do not.
///
/// # Shapes
///
/// - logits: `[pairs, 2]`, of "no match" and "match"
/// - output: `[1]`
///
/// # Errors
///
/// [`TrainError::Batch`] for fewer pairs than match.
pub fn matching_loss(logits: Tensor<2>, matching: usize) -> Result<Tensor<1>, TrainError> {
    let [pairs, verdicts] = logits.dims();
    if pairs < matching {
        let reason = format!("{matching} of {pairs} pairs cannot match");
        return Err(TrainError::Batch { reason });
    }
    let labels: Vec<Vec<i64>> = (0..pairs)
        .map(|pair| vec![i64::from(pair < matching)])
        .collect();
    cross_entropy(logits.reshape([pairs, 1, verdicts]), &labels, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_others_and_the_likelier_the_more_similar() {
        let similarities = vec![
            vec![9.0, 5.0, -5.0],
            vec![5.0, 9.0, -5.0],
            vec![-5.0, 0.0, 9.0],
        ];
        let mut close = 0;
        for seed in 0..200 {
            let negatives = HardNegatives::mine(&similarities, seed).unwrap();
            for row in 0..3 {
                assert!(negatives.images[row] != row && negatives.texts[row] != row);
            }
            close += usize::from(negatives.texts[0] == 1);
        }
        assert!(close > 195, "{close}");
        let same = |seed| HardNegatives::mine(&similarities, seed).unwrap();
        assert_eq!(same(3), same(3));
        assert!(HardNegatives::mine(&similarities[..1], 0).is_err());
        let odd = vec![vec![f32::NAN; 2]; 2];
        assert_eq!(HardNegatives::mine(&odd, 0).unwrap().texts, [1, 0]);
    }
}
