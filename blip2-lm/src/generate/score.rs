//! How likely a model finds given texts.

use std::collections::HashMap;

use super::GenerateError;
use super::ask;
use super::numerics::LogNormalizer;
use super::session::DecodeSession;

/// The log-probability of each token of each continuation, after its prompt and the tokens before
/// it: one list of continuations for each row of `session`, in their order.
///
/// The prompts run once, whatever the number of continuations, and so do beginnings that
/// continuations of a row have in common. The last tokens are not fed, so that continuations of one
/// token cost nothing beside the prompt.
///
/// ```
/// # use blip2_lm::burn::tensor::Device;
/// # use blip2_lm::{DecoderLm, OptConfig, RandomWeights, Weights};
/// use blip2_lm::generate::score_continuations;
///
/// # let config = OptConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_word_embed_proj_dim(32).with_num_hidden_layers(1).with_num_attention_heads(4)
/// #     .with_ffn_dim(64);
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// # let model = DecoderLm::load(&config, &Weights::new(&source, &device))?;
/// let embeds = model.embed(&[vec![2, 17, 42]])?;
/// let mut session = model.start(embeds, &[vec![true; 3]], 2)?;
/// let (yes, no) = (vec![7, 8], vec![9]);
/// let scores = score_continuations(&mut session, &[vec![yes, no]])?;
/// let sums: Vec<f32> = scores[0].iter().map(|each| each.iter().sum()).collect();
/// println!("log-probabilities: {:.2} of yes, {:.2} of no", sums[0], sums[1]);
/// assert!(sums.iter().all(|sum| *sum < 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`GenerateError::PromptCount`] for another number of lists than rows,
/// [`GenerateError::InvalidArgument`] for an empty continuation, one with a token that the
/// vocabulary does not have, or one that the context has no room for, and whatever the model gets
/// wrong.
pub fn score_continuations<S: DecodeSession>(
    session: &mut S,
    continuations: &[Vec<Vec<u32>>],
) -> Result<Vec<Vec<Vec<f32>>>, GenerateError> {
    check(session, continuations)?;
    if continuations.is_empty() {
        return Ok(Vec::new());
    }
    let mut walks: Vec<Vec<Scored<'_>>> = continuations
        .iter()
        .enumerate()
        .map(|(row, list)| list.iter().map(|tokens| Scored::new(row, tokens)).collect())
        .collect();
    let mut logits = ask::prefill(session)?;
    // All continuations advance by one token a round, so that a step runs them as one batch. Those
    // that agree so far share a row (`slots`): it forks only where they differ, as a beam does.
    loop {
        // The softmax's normaliser is a pass over the vocabulary: once a row, not once a candidate.
        let mut norms = vec![None; logits.rows()];
        let mut slots = HashMap::new();
        let (mut parents, mut tokens) = (Vec::new(), Vec::new());
        for (row, list) in walks.iter_mut().enumerate() {
            for walk in list {
                let Some(&token) = walk.tokens.get(walk.logprobs.len()) else {
                    continue;
                };
                let scores = logits.row(walk.slot);
                let norm = match norms[walk.slot] {
                    Some(norm) => norm,
                    None => {
                        let step = walk.logprobs.len();
                        let fault = |value| GenerateError::BadLogits { row, step, value };
                        *norms[walk.slot].insert(LogNormalizer::of(scores).map_err(fault)?)
                    }
                };
                walk.logprobs.push(norm.log_prob(scores[token as usize]));
                if walk.logprobs.len() < walk.tokens.len() {
                    walk.slot = *slots.entry((walk.slot, token)).or_insert_with(|| {
                        parents.push(walk.slot);
                        tokens.push(token);
                        tokens.len() - 1
                    });
                }
            }
        }
        if tokens.is_empty() {
            break;
        }
        logits = ask::step(session, &parents, &tokens)?;
    }
    let logprobs = |list: Vec<Scored<'_>>| list.into_iter().map(|walk| walk.logprobs).collect();
    Ok(walks.into_iter().map(logprobs).collect())
}

/// A continuation that is being scored.
struct Scored<'a> {
    tokens: &'a [u32],
    logprobs: Vec<f32>,
    /// Its row in the latest logits.
    slot: usize,
}

impl<'a> Scored<'a> {
    fn new(row: usize, tokens: &'a [u32]) -> Self {
        Self {
            tokens,
            logprobs: Vec::with_capacity(tokens.len()),
            slot: row,
        }
    }
}

fn check<S: DecodeSession>(
    session: &S,
    continuations: &[Vec<Vec<u32>>],
) -> Result<(), GenerateError> {
    let (given, expected) = (continuations.len(), session.rows());
    if given != expected {
        return Err(GenerateError::PromptCount { given, expected });
    }
    let vocab = session.vocab_size();
    // The last token is not fed.
    let room = session
        .remaining_positions()
        .map(|positions| positions.saturating_add(1));
    for tokens in continuations.iter().flatten() {
        let fault =
            |value: String, reason| Err(GenerateError::argument("continuations", value, reason));
        if tokens.is_empty() {
            return fault("[]".into(), "nothing has no probability".to_string());
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocab) {
            return fault(
                token.to_string(),
                format!("the vocabulary has {vocab} tokens"),
            );
        }
        if let Some(room) = room
            && tokens.len() > room
        {
            let reason = format!("the context has room for {room} tokens");
            return fault(format!("{} tokens", tokens.len()), reason);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::generate::Logits;

    const VOCAB: usize = 5;

    /// A model whose logits are a hash of all tokens so far.
    struct Hashed {
        rows: Vec<Vec<u32>>,
        fed: usize,
    }

    fn logits_after(ids: &[u32]) -> Vec<f32> {
        let hash = ids.iter().fold(17u32, |hash, &id| {
            hash.wrapping_mul(1_664_525)
                .wrapping_add(id + 1_013_904_223)
        });
        (0..VOCAB as u32)
            .map(|token| (hash.wrapping_mul(2 * token + 1) >> 24) as f32 / 32.0)
            .collect()
    }

    impl Hashed {
        fn logits(&self) -> Logits {
            let data = self.rows.iter().flat_map(|ids| logits_after(ids)).collect();
            Logits::new(data, VOCAB).unwrap()
        }
    }

    impl DecodeSession for Hashed {
        type Error = Infallible;

        fn vocab_size(&self) -> usize {
            VOCAB
        }

        fn rows(&self) -> usize {
            self.rows.len()
        }

        fn prefill(&mut self) -> Result<Logits, Infallible> {
            Ok(self.logits())
        }

        fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, Infallible> {
            self.fed += tokens.len();
            let next = parents.iter().zip(tokens);
            self.rows = next
                .map(|(&parent, &token)| [self.rows[parent].as_slice(), &[token]].concat())
                .collect();
            Ok(self.logits())
        }

        fn remaining_positions(&self) -> Option<usize> {
            Some(3)
        }
    }

    fn session() -> Hashed {
        Hashed {
            rows: vec![vec![1, 2], vec![4]],
            fed: 0,
        }
    }

    #[test]
    fn each_token_is_scored_after_all_before_it_and_beginnings_run_once() {
        let continuations = [
            vec![vec![3, 1, 2], vec![3, 1, 0, 2], vec![4], vec![3, 1, 2]],
            vec![vec![3, 1]],
        ];
        let mut session = session();
        let scores = score_continuations(&mut session, &continuations).unwrap();
        // Of the first row `3`, `3 1` and `3 1 0`; of the second `3`.
        assert_eq!(session.fed, 4);
        for ((prompt, list), scores) in [vec![1, 2], vec![4]].iter().zip(&continuations).zip(scores)
        {
            for (tokens, scores) in list.iter().zip(scores) {
                assert_eq!(tokens.len(), scores.len());
                for (n, score) in scores.iter().enumerate() {
                    let ids = [prompt.as_slice(), &tokens[..n]].concat();
                    let logits = logits_after(&ids);
                    let sum: f32 = logits.iter().map(|x| x.exp()).sum();
                    let expected = logits[tokens[n] as usize] - sum.ln();
                    assert!((score - expected).abs() < 1e-5, "{score} {expected}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_scored_is_named() {
        let error = |continuations: &[Vec<Vec<u32>>]| {
            score_continuations(&mut session(), continuations)
                .unwrap_err()
                .to_string()
        };
        assert!(error(&[vec![vec![1]]]).contains("2 row(s)"));
        assert!(error(&[vec![vec![]], vec![]]).contains("nothing has no probability"));
        assert!(error(&[vec![vec![5]], vec![]]).contains("vocabulary has 5"));
        assert!(error(&[vec![vec![1; 5]], vec![]]).contains("room for 4"));
        let empty = score_continuations(&mut session(), &[vec![], vec![]]).unwrap();
        assert_eq!(empty, [Vec::<Vec<f32>>::new(), vec![]]);
    }
}
