//! Image-text matching (ITM), and the negatives that are hard to tell.

use burn::tensor::Tensor;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::cross_entropy::cross_entropy;
use crate::error::TrainError;

/// For each pair of a batch another text and another picture that are easily taken for its own:
/// drawn by how similar they are (Li et al., 2021). There is none where all others show the same, or
/// there are no others.
///
/// ```
/// use blip2_train::objective::HardNegatives;
///
/// // Picture 0 is easily taken for text 1, and for no other.
/// let similarities = [vec![9.0, 8.0, -90.0], vec![0.0, 9.0, 0.0], vec![0.0, 0.0, 9.0]];
/// let hard = HardNegatives::mine(&similarities, &[], 7)?;
/// assert_eq!(hard.texts[0], Some(1));
///
/// let twins = HardNegatives::mine(&similarities, &[1, 1, 2], 7)?; // 0 and 1 show the same
/// assert_eq!(twins.texts[0], Some(2));
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardNegatives {
    /// For each text, the row of a picture that is not its own.
    pub images: Vec<Option<usize>>,
    /// For each picture, the row of a text that is not its own.
    pub texts: Vec<Option<usize>>,
}

impl HardNegatives {
    /// Draws negatives by `similarities[image][text]`, which are logits: a softmax over all others
    /// of the batch says how likely each is drawn. Pairs of one subject are no negatives of one
    /// another; without `subjects` all differ. The same seed draws the same.
    ///
    /// # Errors
    ///
    /// [`TrainError::Batch`] for no pair at all, similarities that are no square, and another number of
    /// subjects.
    pub fn mine(
        similarities: &[Vec<f32>],
        subjects: &[u64],
        seed: u64,
    ) -> Result<Self, TrainError> {
        let count = similarities.len();
        if count == 0 || similarities.iter().any(|row| row.len() != count) {
            let reason =
                format!("negatives are drawn from a square of similarities, not from {count} rows");
            return Err(TrainError::Batch { reason });
        }
        if !subjects.is_empty() && subjects.len() != count {
            let reason = format!("{} subjects for {count} pairs", subjects.len());
            return Err(TrainError::Batch { reason });
        }
        let others = |own: usize| {
            let differs = |other: &usize| match subjects {
                [] => *other != own,
                subjects => subjects[*other] != subjects[own],
            };
            (0..count).filter(differs).collect::<Vec<_>>()
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let images = (0..count).map(|text| {
            let logit = |image: usize| similarities[image][text];
            draw(&others(text), logit, &mut random)
        });
        let images = images.collect();
        let texts = (0..count).map(|image| {
            let logit = |text: usize| similarities[image][text];
            draw(&others(image), logit, &mut random)
        });
        Ok(Self {
            texts: texts.collect(),
            images,
        })
    }
}

/// Draws one of these, each as likely as its softmax.
fn draw(others: &[usize], logit: impl Fn(usize) -> f32, random: &mut ChaCha8Rng) -> Option<usize> {
    let logits = || others.iter().map(|&other| logit(other));
    let largest = logits().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| f64::from(logit - largest).exp();
    let all: f64 = logits().map(weight).sum();
    let mut left = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * all;
    for &other in others {
        left -= weight(logit(other));
        if left < 0.0 {
            return Some(other);
        }
    }
    // Rounding, or logits that are no numbers: any other will do.
    others.last().copied()
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
        let mine = |subjects: &[u64], seed| HardNegatives::mine(&similarities, subjects, seed);
        let mut close = 0;
        for seed in 0..200 {
            let negatives = mine(&[], seed).unwrap();
            for row in 0..3 {
                assert_ne!(negatives.images[row], Some(row));
                assert_ne!(negatives.texts[row], Some(row));
            }
            close += usize::from(negatives.texts[0] == Some(1));
            let negatives = mine(&[7, 7, 8], seed).unwrap();
            assert_eq!(negatives.texts[..2], [Some(2), Some(2)]);
        }
        assert!(close > 195, "{close}");
        assert_eq!(mine(&[], 3).unwrap(), mine(&[], 3).unwrap());
        assert_eq!(mine(&[7, 7, 7], 0).unwrap().images, [None; 3]);
        assert!(mine(&[7], 0).is_err());
        let alone = HardNegatives::mine(&[vec![1.0]], &[], 0).unwrap();
        assert_eq!((alone.images, alone.texts), (vec![None], vec![None]));
        assert!(HardNegatives::mine(&similarities[..1], &[], 0).is_err());
        let odd = vec![vec![f32::NAN; 2]; 2];
        let negatives = HardNegatives::mine(&odd, &[], 0).unwrap();
        assert_eq!(negatives.texts, [Some(1), Some(0)]);
    }
}
