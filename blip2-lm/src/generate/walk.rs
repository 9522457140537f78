//! Greedy search and plain sampling: sequences that never fork.

use blip2_kernels::Likeliest;

use super::GenerateError;
use super::ask::{self, Wanted};
use super::known::Known;
use super::logits::{RowScores, Scores};
use super::numerics::{LogNormalizer, TopK, argmax};
use super::output::{FinishReason, Generated, StreamToken};
use super::random::RandomStream;
use super::run::{Growth, Run, Sequence, bad_logits, no_allowed_token};
use super::session::DecodeSession;

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

    /// What a step must give so that the next token can be chosen.
    pub(super) fn wanted(&self, run: &Run<'_>) -> Wanted {
        let at = self.sequence.position();
        if run.config().top_logprobs > 0 {
            return Wanted::Logits;
        }
        match run.rules.only_forbids(at) {
            Some(forbidden) => Wanted::Likeliest(forbidden.to_vec()),
            None => run.rules.deciding(at).map_or(Wanted::Logits, Wanted::Top),
        }
    }

    /// Chooses the token after row `slot` of the latest `scores` and takes it. Should they not decide, all
    /// logits come in their place. `scratch` holds the scores.
    pub(super) fn advance<S: DecodeSession>(
        &mut self,
        run: &Run<'_>,
        session: &mut S,
        scores: &mut Scores,
        slot: usize,
        scratch: &mut Vec<f32>,
    ) -> Result<(StreamToken, Growth), GenerateError> {
        if let Some(chosen) = self.choose(run, scores.row(slot), scratch)? {
            return Ok(chosen);
        }
        ask::read_all(session, scores)?;
        let chosen = self.choose(run, scores.row(slot), scratch)?;
        chosen.ok_or_else(|| no_allowed_token(&self.sequence))
    }

    /// Chooses the token after `row`, if that decides it, and takes it.
    fn choose(
        &mut self,
        run: &Run<'_>,
        row: RowScores<'_>,
        scratch: &mut Vec<f32>,
    ) -> Result<Option<(StreamToken, Growth)>, GenerateError> {
        let token = match row {
            RowScores::Crowded => None,
            RowScores::Known(known) => self.choose_of(run, known, scratch)?,
            RowScores::Likeliest(Likeliest::Token { id, logprob, .. }) => {
                Some(StreamToken { id, logprob })
            }
            RowScores::NoDistribution(value)
            | RowScores::Likeliest(Likeliest::NoDistribution(value)) => {
                return Err(bad_logits(&self.sequence, value));
            }
            RowScores::Likeliest(_) => return Err(no_allowed_token(&self.sequence)),
        };
        let Some(token) = token else {
            return Ok(None);
        };
        let growth = self.sequence.push(token.id, token.logprob, run)?;
        Ok(Some((token, growth)))
    }

    /// The token that is chosen among logits; `None` if too few are known to decide.
    fn choose_of(
        &mut self,
        run: &Run<'_>,
        known: Known<'_>,
        scratch: &mut Vec<f32>,
    ) -> Result<Option<StreamToken>, GenerateError> {
        let norm = known.normalizer();
        let norm = norm.map_err(|value| bad_logits(&self.sequence, value))?;
        let scores = match known {
            Known::All(logits) if !run.rules.change_scores() => logits,
            known => {
                scratch.clear();
                known.spread(run.rules.vocab(), scratch, |logit| logit);
                run.rules.penalize(&[self.sequence.position()], scratch)?;
                let bar = known.bar();
                if bar.is_some_and(|bar| !run.rules.is_decided(scratch, bar)) {
                    return Ok(None);
                }
                run.rules.truncate(scratch);
                scratch.as_slice()
            }
        };
        let chosen = match &mut self.random {
            Some(random) => random.multinomial(scores),
            None => argmax(scores),
        };
        let chosen = chosen.ok_or_else(|| no_allowed_token(&self.sequence))?;
        let top = run.config().top_logprobs;
        if let Known::All(logits) = known
            && top > 0
        {
            self.tops.push(likeliest(logits, norm, top));
        }
        Ok(Some(StreamToken {
            id: chosen as u32,
            logprob: norm.log_prob(known.logit(chosen)),
        }))
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
        let wanted = |places: &[Place]| {
            let growing = places.iter().filter(|place| place.finish.is_none());
            Wanted::of_all(growing.map(|place| place.walk.wanted(run)))
        };
        let mut scores = ask::first(session, &wanted(&places))?;
        let mut scratch = Vec::new();
        let (mut parents, mut tokens) = (Vec::new(), Vec::new());
        loop {
            parents.clear();
            tokens.clear();
            // Rows that have ended are left out of the next step: the batch grows shorter, and a row
            // that runs on costs no more than alone.
            for place in places.iter_mut().filter(|place| place.finish.is_none()) {
                let slot = place.slot;
                let walk = &mut place.walk;
                let (token, growth) =
                    walk.advance(run, session, &mut scores, slot, &mut scratch)?;
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
            scores = ask::next(session, &parents, &tokens, &wanted(&places))?;
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
