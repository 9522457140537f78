//! Greedy search and plain sampling: sequences that never fork.

use blip2_kernels::Likeliest;

use super::GenerateError;
use super::numerics::{LogNormalizer, TopK, argmax};
use super::output::{FinishReason, Generated, StreamToken};
use super::random::RandomStream;
use super::run::{Growth, Run, Sequence, bad_logits, no_allowed_token};
use super::session::{self, DecodeSession, RowScores};

/// One sequence that grows, with its own random numbers if it is sampled.
pub(super) struct Walk {
    sequence: Sequence,
    random: Option<RandomStream>,
    /// The likeliest tokens of each step, if they are asked for.
    tops: Vec<Vec<StreamToken>>,
}

impl Walk {
    /// Sequence number `index` of those returned for its row.
    pub(super) fn new(run: &Run<'_>, sequence: Sequence, index: usize) -> Self {
        let config = run.config();
        let random = config
            .do_sample
            .then(|| RandomStream::new(config.seed, index));
        Self {
            sequence,
            random,
            tops: Vec::new(),
        }
    }

    /// What may not come next, where the likeliest of all else is what comes and nothing but it is
    /// asked for.
    pub(super) fn forbidden<'r>(&self, run: &'r Run<'_>) -> Option<&'r [u32]> {
        match (run.config().top_logprobs, &self.random) {
            (0, None) => run.rules.only_forbids(self.sequence.position()),
            _ => None,
        }
    }

    /// Chooses the token after `row` and takes it. `scratch` holds the scores.
    pub(super) fn advance(
        &mut self,
        run: &Run<'_>,
        row: RowScores<'_>,
        scratch: &mut Vec<f32>,
    ) -> Result<(StreamToken, Growth), GenerateError> {
        match row {
            RowScores::Logits(logits) => self.choose(run, logits, scratch),
            RowScores::Likeliest(Likeliest::Token { id, logprob, .. }) => {
                let growth = self.sequence.push(id, logprob, run)?;
                Ok((StreamToken { id, logprob }, growth))
            }
            RowScores::Likeliest(Likeliest::NoDistribution(value)) => {
                Err(bad_logits(&self.sequence, value))
            }
            RowScores::Likeliest(_) => Err(no_allowed_token(&self.sequence)),
        }
    }

    /// Chooses the token after `logits`, `[vocab]`.
    fn choose(
        &mut self,
        run: &Run<'_>,
        logits: &[f32],
        scratch: &mut Vec<f32>,
    ) -> Result<(StreamToken, Growth), GenerateError> {
        let norm = LogNormalizer::of(logits).map_err(|value| bad_logits(&self.sequence, value))?;
        let scores = if run.rules.change_scores() {
            scratch.clear();
            scratch.extend_from_slice(logits);
            run.rules.apply(&[self.sequence.position()], scratch)?;
            scratch.as_slice()
        } else {
            logits
        };
        let chosen = match &mut self.random {
            Some(random) => random.multinomial(scores),
            None => argmax(scores),
        };
        let chosen = chosen.ok_or_else(|| no_allowed_token(&self.sequence))?;
        let token = StreamToken {
            id: chosen as u32,
            logprob: norm.log_prob(logits[chosen]),
        };
        let growth = self.sequence.push(token.id, token.logprob, run)?;
        let top = run.config().top_logprobs;
        if top > 0 {
            self.tops.push(likeliest(logits, norm, top));
        }
        Ok((token, growth))
    }

    /// The likeliest tokens of the latest step.
    pub(super) fn top(&self) -> Vec<StreamToken> {
        self.tops.last().cloned().unwrap_or_default()
    }

    pub(super) fn flush_text(&mut self, run: &Run<'_>) -> Result<String, GenerateError> {
        self.sequence.flush_text(run)
    }

    /// What there is so far, as a whole that ended for this reason.
    pub(super) fn generated(&self, finish_reason: FinishReason) -> Generated {
        let generated = self.sequence.clone().into_generated(finish_reason, None);
        Generated {
            top_logprobs: self.tops.clone(),
            ..generated
        }
    }

    pub(super) fn into_generated(self, finish_reason: FinishReason) -> Generated {
        let generated = self.sequence.into_generated(finish_reason, None);
        Generated {
            top_logprobs: self.tops,
            ..generated
        }
    }
}

/// What may not come next in any of several walks, where it is the same in all.
pub(super) fn in_common<'r>(
    mut forbidden: impl Iterator<Item = Option<&'r [u32]>>,
) -> Option<&'r [u32]> {
    let first = forbidden.next()??;
    forbidden.all(|other| other == Some(first)).then_some(first)
}

/// The likeliest tokens in the model's own distribution, the likeliest first.
fn likeliest(logits: &[f32], norm: LogNormalizer, count: usize) -> Vec<StreamToken> {
    let mut top = TopK::new(count);
    for (id, &logit) in (0..).zip(logits) {
        top.push(logit, id);
    }
    let sorted = top.into_sorted().map(|(logit, id)| StreamToken {
        id,
        logprob: norm.log_prob(logit),
    });
    sorted.collect()
}

/// A walk of a batch.
struct Place {
    walk: Walk,
    /// Its row in the latest logits.
    slot: usize,
    finish: Option<FinishReason>,
}

/// Walks all prompt rows to their ends; `num_return_sequences` walks each.
pub(super) fn walk_rows<S: DecodeSession>(
    session: &mut S,
    run: &Run<'_>,
    prompts: &[Vec<u32>],
) -> Result<Vec<Vec<Generated>>, GenerateError> {
    let per_row = run.config().num_return_sequences;
    let mut places = Vec::with_capacity(prompts.len() * per_row);
    for (row, prompt) in prompts.iter().enumerate() {
        for index in 0..per_row {
            let sequence = Sequence::new(run, row, prompt, false)?;
            places.push(Place {
                walk: Walk::new(run, sequence, index),
                slot: row,
                finish: None,
            });
        }
    }
    if !run.cancel.is_cancelled() {
        let forbidden = |places: &[Place]| {
            let growing = places.iter().filter(|place| place.finish.is_none());
            in_common(growing.map(|place| place.walk.forbidden(run)))
        };
        let mut scores = session::first(session, forbidden(&places))?;
        let mut scratch = Vec::new();
        let (mut parents, mut tokens) = (Vec::new(), Vec::new());
        loop {
            parents.clear();
            tokens.clear();
            // Rows that have ended are left out of the next step: the batch grows shorter, and a row
            // that runs on costs no more than alone.
            for place in places.iter_mut().filter(|place| place.finish.is_none()) {
                let row = scores.row(place.slot);
                let (token, growth) = place.walk.advance(run, row, &mut scratch)?;
                place.finish = growth.finish;
                if place.finish.is_none() {
                    parents.push(place.slot);
                    tokens.push(token.id);
                    place.slot = tokens.len() - 1;
                }
            }
            if tokens.is_empty() || run.cancel.is_cancelled() {
                break;
            }
            scores = session::next(session, &parents, &tokens, forbidden(&places))?;
        }
    }
    let mut generated = places.into_iter().map(|place| {
        let finish = place.finish.unwrap_or_else(|| run.cancel.stopped());
        place.walk.into_generated(finish)
    });
    Ok(prompts
        .iter()
        .map(|_| generated.by_ref().take(per_row).collect())
        .collect())
}
