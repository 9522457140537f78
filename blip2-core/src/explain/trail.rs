//! What a forward pass leaves behind for an explanation: scores, and the attention maps between them
//! and the patches.

use blip2_lm::LmError;
use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};

use crate::{embedding::numbers, error::Blip2Error};

/// A forward pass, from the score back to the pixels.
pub(crate) struct Trail {
    pub(super) scores: Scores,
    /// For each thing that is explained, where in the first stage it stands, and with which weight.
    pub(super) starts: Vec<Vec<(usize, f32)>>,
    /// The stages between, the last to run first. Empty unless maps are kept.
    pub(super) stages: Vec<Stage>,
}

/// A part of the model that attends, with its maps, layer by layer.
pub(super) enum Stage {
    /// Positions that attend to one another.
    Own(Vec<Tensor<4>>),
    /// Positions that attend to one another, and in some layers the first of them to what the next
    /// stage gives.
    Crossing {
        own: Vec<Tensor<4>>,
        cross: Vec<Option<Tensor<4>>>,
    },
    /// What stands at these places is what the next stage gives, in as many rows.
    Places { places: Vec<usize>, rows: usize },
}

/// What a picture is scored by, for each of a batch.
pub(super) enum Scores {
    /// The tokens of a text: logits `[batch, tokens, vocab]`, of which these ids are meant.
    Tokens { logits: Tensor<3>, ids: Vec<u32> },
    /// Whether a text describes the picture, `[batch, 2]`: no or yes.
    Match(Tensor<2>),
    /// How similar a text is, `[batch]`.
    Similarity(Tensor<1>),
}

impl Scores {
    /// The scores of the tokens of a text, `[batch, tokens, vocab]`.
    pub(super) fn of_tokens(logits: Tensor<3>, ids: &[u32]) -> Result<Self, Blip2Error> {
        let [_, _, vocab] = logits.dims();
        // The last of them is read by nobody who would refuse it.
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(LmError::Token { row: 0, id, vocab }.into());
        }
        let ids = ids.to_vec();
        Ok(Self::Tokens { logits, ids })
    }

    /// What the gradients are of, for the `n`th of the first picture.
    ///
    /// Of what is a choice among several, the log-odds, log p − log (1 − p). Their gradient is that of
    /// the log-probability divided by 1 − p: it points the same way, and it does not vanish, nor
    /// dissolve into rounding, where the model is sure of what it says.
    pub(super) fn objective(&self, n: usize) -> Tensor<1> {
        match self {
            Self::Tokens { logits, ids } => {
                let [_, _, vocab] = logits.dims();
                let row = logits.clone().narrow(0, 0, 1).narrow(1, n, 1);
                log_odds(row.reshape([1, vocab]), ids[n] as usize)
            }
            Self::Match(logits) => log_odds(logits.clone().narrow(0, 0, 1), 1),
            Self::Similarity(cosines) => cosines.clone().narrow(0, 0, 1),
        }
    }

    /// What is measured of each picture of the batch, `[batch][…]`: log-probabilities of tokens or of a
    /// match, or the similarity.
    pub(super) fn measured(&self) -> Result<Vec<Vec<f32>>, Blip2Error> {
        match self {
            Self::Tokens { logits, ids } => {
                let logits = logits.clone().inner();
                let [batch, count, _] = logits.dims();
                let wanted = ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
                let wanted = TensorData::new(wanted.repeat(batch), [batch, count, 1]);
                let wanted = Tensor::<3, Int>::from_data(wanted, &logits.device());
                let found = log_softmax(logits, 2).gather(2, wanted);
                rows(numbers(found, "a token's log-probability")?, count)
            }
            Self::Match(logits) => {
                let found = log_softmax(logits.clone().inner(), 1).narrow(1, 1, 1);
                rows(numbers(found, "a match")?, 1)
            }
            Self::Similarity(cosines) => rows(numbers(cosines.clone().inner(), "a similarity")?, 1),
        }
    }
}

fn rows(values: Vec<f32>, width: usize) -> Result<Vec<Vec<f32>>, Blip2Error> {
    Ok(values.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
}

/// The log-odds of one of some logits, `[1, choices]`.
fn log_odds(logits: Tensor<2>, one: usize) -> Tensor<1> {
    let [_, choices] = logits.dims();
    let own = logits.clone().narrow(1, one, 1);
    let before = (one > 0).then(|| logits.clone().narrow(1, 0, one));
    let behind = choices - one - 1;
    let behind = (behind > 0).then(|| logits.clone().narrow(1, one + 1, behind));
    let others = Tensor::cat(before.into_iter().chain(behind).collect(), 1);
    // log Σ exp x = x₀ − log softmax(x)₀
    let first = others.clone().narrow(1, 0, 1);
    let sum = first - log_softmax(others, 1).narrow(1, 0, 1);
    (own - sum).reshape([1])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn log_odds_are_those_of_the_probabilities() {
        let logits = [0.5f32, -1.0, 2.0, 0.25];
        let sum: f32 = logits.iter().map(|x| x.exp()).sum();
        for (one, logit) in logits.iter().enumerate() {
            let p = logit.exp() / sum;
            let tensor = Tensor::<2>::from_floats([logits], &Device::flex());
            let found = log_odds(tensor, one).into_scalar::<f32>();
            assert!((found - (p / (1.0 - p)).ln()).abs() < 1e-5, "{one}");
        }
    }

    #[test]
    fn a_sure_choice_still_has_a_gradient() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats([[60.0, 0.0, 1.0]], &device).require_grad();
        let gradients = log_odds(logits.clone(), 0).backward();
        let found = logits.grad(&gradients).unwrap().into_data();
        let found = found.try_to_vec::<f32>().unwrap();
        let e = 1f32.exp();
        for (found, expected) in found.iter().zip([1.0, -1.0 / (1.0 + e), -e / (1.0 + e)]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
