//! All that shapes the scores of the next token, in one object per run.

use std::sync::Arc;

use blip2_kernels::MOST_TOP;

use super::config::GenerationConfig;
use super::constraint::{NextTokens, Position, TokenConstraint};
use super::{GenerateError, penalties, warpers};

/// How many logits more than the least are asked for where the largest decide: those that tie with the
/// last one that counts must be seen to be told from it.
pub(super) const SPARE: usize = 8;

/// The arguments of a run, ready to be applied to rows of scores.
#[derive(Clone)]
pub(super) struct Rules<'a> {
    config: GenerationConfig,
    constraint: Option<Arc<dyn TokenConstraint + 'a>>,
    bad_words: Vec<Vec<u32>>,
    vocab: usize,
}

impl<'a> Rules<'a> {
    /// Prepares `config`, which has been validated, for a model of `vocab` tokens.
    pub(super) fn new(
        config: GenerationConfig,
        constraint: Option<Arc<dyn TokenConstraint + 'a>>,
        vocab: usize,
    ) -> Result<Self, GenerateError> {
        if let Some(token) = config
            .bad_words_ids
            .iter()
            .flatten()
            .find(|&&token| token as usize >= vocab)
        {
            let reason = format!("the model's vocabulary has {vocab} tokens");
            return Err(GenerateError::argument("bad_words_ids", token, reason));
        }
        let is_end = |word: &[u32]| matches!(word, [token] if config.eos_token_id.contains(token));
        let bad_words = config
            .bad_words_ids
            .iter()
            .filter(|word| !is_end(word))
            .cloned()
            .collect();
        Ok(Self {
            config,
            constraint,
            bad_words,
            vocab,
        })
    }

    pub(super) fn config(&self) -> &GenerationConfig {
        &self.config
    }

    /// The number of scores in a row.
    pub(super) fn vocab(&self) -> usize {
        self.vocab
    }

    pub(super) fn is_end(&self, token: u32) -> bool {
        self.config.eos_token_id.contains(&token)
    }

    /// Whether [`apply`](Self::apply) can change any score.
    pub(super) fn change_scores(&self) -> bool {
        let config = &self.config;
        config.do_sample
            || config.repetition_penalty != 1.0
            || config.no_repeat_ngram_size > 0
            || !self.bad_words.is_empty()
            || !config.eos_token_id.is_empty()
                && (config.min_length > 0 || config.min_new_tokens.is_some_and(|min| min > 0))
            || self.constraint.is_some()
    }

    /// What may not come at a position where nothing else changes scores; `None` where something does.
    pub(super) fn only_forbids(&self, at: Position<'_>) -> Option<&[u32]> {
        let config = &self.config;
        let changes = config.do_sample
            || config.repetition_penalty != 1.0
            || config.no_repeat_ngram_size > 0
            || !self.bad_words.is_empty()
            || self.constraint.is_some();
        let forbidden = match self.is_too_short(at) {
            true => config.eos_token_id.as_slice(),
            false => &[],
        };
        (!changes).then_some(forbidden)
    }

    /// How many of the largest logits decide what comes at a position, or do very nearly always: see
    /// [`is_decided`](Self::is_decided). `None` where those are too many or all count.
    pub(super) fn deciding(&self, at: Position<'_>) -> Option<usize> {
        let config = &self.config;
        // What else there is lowers scores, so that none comes up from below those that are known.
        let raises = config.repetition_penalty < 1.0 || self.constraint.is_some();
        let counting = self.counting().filter(|_| !raises)?;
        // Whoever asks for all logits by a `top_k` may name any number.
        let least = counting.checked_add(SPARE)?;
        let of_history = config.repetition_penalty != 1.0 || config.no_repeat_ngram_size > 0;
        let lowered = [
            (of_history, at.ids().len()),
            (self.is_too_short(at), config.eos_token_id.len()),
            (true, self.bad_words.len()),
        ];
        let lowered = lowered.iter().filter(|(is_on, _)| *is_on);
        let lowered: usize = lowered.map(|(_, tokens)| tokens).sum();
        (least <= MOST_TOP).then_some((least + lowered).min(MOST_TOP))
    }

    /// How many of the largest scores count for the choice of the next token, of the next beams for all
    /// beams together; `None` where all count.
    fn counting(&self) -> Option<usize> {
        let config = &self.config;
        match (config.num_beams, config.do_sample) {
            (1, false) => Some(1),
            (_, false) => Some(self.candidates()),
            (1, true) if config.top_k > 0 => Some(config.top_k.max(self.min_tokens_to_keep())),
            (_, true) => None,
        }
    }

    /// How many continuations a beam search looks at: as many as leave `num_beams` to go on if each end
    /// token is among them in every beam.
    pub(super) fn candidates(&self) -> usize {
        (1 + self.config.eos_token_id.len()).max(2) * self.config.num_beams
    }

    /// Whether a row of scores, [penalized](Self::penalize), decides what all would, although those of
    /// logits that are no larger than `bar` may be missing.
    pub(super) fn is_decided(&self, scores: &[f32], bar: f32) -> bool {
        let mut bar = [bar];
        if self.config.do_sample {
            warpers::temperature(&mut bar, self.config.temperature);
        }
        // A missing score is not above this; one that equals it might tie with the last that counts.
        let above = scores.iter().filter(|&&score| score > bar[0]).count();
        self.counting().is_some_and(|count| above >= count)
    }

    /// Whether a sequence may not end yet.
    fn is_too_short(&self, at: Position<'_>) -> bool {
        match self.config.min_new_tokens {
            Some(min) => at.generated().len() < min,
            None => at.ids().len() < self.config.min_length,
        }
    }

    /// Applies everything to `scores`, `[positions.len(), vocab]`: the beams of one prompt row, or
    /// a single sequence. The order is that of `_get_logits_processor` in `transformers`.
    pub(super) fn apply(
        &self,
        positions: &[Position<'_>],
        scores: &mut [f32],
    ) -> Result<(), GenerateError> {
        self.penalize(positions, scores)?;
        self.truncate(scores);
        Ok(())
    }

    /// Applies what changes scores by what they stand for, and the temperature.
    pub(super) fn penalize(
        &self,
        positions: &[Position<'_>],
        scores: &mut [f32],
    ) -> Result<(), GenerateError> {
        let mut allowed = Vec::new();
        for (&at, row) in positions.iter().zip(scores.chunks_exact_mut(self.vocab)) {
            self.apply_penalties(at, row);
            if let Some(constraint) = &self.constraint {
                allowed.push(constraint.next_tokens(at, row));
                self.keep_only(allowed.last(), row)?;
            }
            if self.config.do_sample {
                warpers::temperature(row, self.config.temperature);
            }
            if let Some(&value) = row.iter().find(|&&x| x.is_nan() || x == f32::INFINITY) {
                return Err(GenerateError::BadScores {
                    row: at.row(),
                    step: at.generated().len(),
                    value,
                });
            }
        }
        // A constraint that leaves nothing of one beam ends that beam; only where it leaves nothing of
        // any does it win over the rules that forbade what it allows.
        if self.constraint.is_some() && scores.iter().all(|&x| x == f32::NEG_INFINITY) {
            self.force(&allowed, scores);
        }
        Ok(())
    }

    /// Applies what removes tokens from a distribution to draw from.
    pub(super) fn truncate(&self, scores: &mut [f32]) {
        if self.config.do_sample {
            for row in scores.chunks_exact_mut(self.vocab) {
                if row.iter().any(|&score| score > f32::NEG_INFINITY) {
                    warpers::truncate(row, &self.config, self.min_tokens_to_keep());
                }
            }
        }
    }

    fn apply_penalties(&self, at: Position<'_>, scores: &mut [f32]) {
        let config = &self.config;
        let ids = at.ids();
        if config.repetition_penalty != 1.0 {
            penalties::repetition_penalty(scores, ids, config.repetition_penalty);
        }
        if config.no_repeat_ngram_size > 0 {
            penalties::no_repeat_ngram(scores, ids, config.no_repeat_ngram_size);
        }
        penalties::bad_words(scores, ids, &self.bad_words);
        if self.is_too_short(at) {
            penalties::no_end(scores, &config.eos_token_id);
        }
    }

    fn keep_only(
        &self,
        allowed: Option<&NextTokens>,
        scores: &mut [f32],
    ) -> Result<(), GenerateError> {
        let Some(NextTokens::Only(tokens)) = allowed else {
            return Ok(());
        };
        let kept: Vec<(usize, f32)> = tokens
            .iter()
            .map(|&token| match scores.get(token as usize) {
                Some(&score) => Ok((token as usize, score)),
                None => Err(GenerateError::ConstraintToken {
                    token,
                    vocab: self.vocab,
                }),
            })
            .collect::<Result<_, _>>()?;
        scores.fill(f32::NEG_INFINITY);
        for (token, score) in kept {
            scores[token] = score;
        }
        Ok(())
    }

    /// `PrefixConstrainedLogitsProcessor` when nothing is left: the allowed tokens score 0.
    fn force(&self, allowed: &[NextTokens], scores: &mut [f32]) {
        for (allowed, row) in allowed.iter().zip(scores.chunks_exact_mut(self.vocab)) {
            if let NextTokens::Only(tokens) = allowed {
                for &token in tokens {
                    row[token as usize] = 0.0;
                }
            }
        }
    }

    /// How many tokens the warpers leave at least: in beams one more than could end them all.
    fn min_tokens_to_keep(&self) -> usize {
        match (self.config.num_beams, self.config.eos_token_id.len()) {
            (1, _) => 1,
            (_, 0) => 2,
            (_, ends) => ends + 1,
        }
    }
}
