//! Beam search as `transformers` does it (`_beam_search` in `generation/utils.py`), and beam
//! sampling.
//!
//! The reference keeps `num_beams` rows alive whatever happens, and gives −10⁹ to those that stand
//! for nothing: the copies of the prompt at the start, sequences that have ended. Such a row never
//! comes ahead of a real one, so here it does not exist. That shows in one case only: under a
//! constraint so narrow that fewer than `num_beams` continuations are left, the reference counts
//! such rows as finished, so that `early_stopping: true` stops it before there are `num_beams` real
//! sequences, and it pads its results with them.
//!
//! A batch is decided row by row; the reference freezes the rows that are done, which comes to the
//! same.

use super::ask::{self, Wanted};
use super::known::Known;
use super::logits::{RowScores, Scores};
use super::numerics::{LogNormalizer, TopK, descending};
use super::output::{FinishReason, Generated};
use super::random::RandomStream;
use super::run::{Run, Sequence, bad_logits, no_allowed_token};
use super::session::DecodeSession;
use super::{EarlyStopping, GenerateError, GenerationConfig};

/// A sequence that may go on.
struct Beam {
    sequence: Sequence,
    /// The sum of its processed log-probabilities.
    score: f32,
    /// Its row in the latest logits.
    slot: usize,
    /// The token to feed next.
    token: u32,
}

/// A beam and a token after it.
struct Candidate {
    beam: usize,
    token: usize,
    score: f32,
}

/// What a beam's logits are counted by.
struct Scale<'a> {
    known: Known<'a>,
    norm: LogNormalizer,
    /// What no continuation scores above whose logit is not known.
    bar: Option<f32>,
}

/// The best continuations, each with the log-probability of its token in the model's own distribution.
type Best = Vec<(Candidate, f32)>;

/// A sequence that has ended, with its final score.
struct Hypothesis {
    score: f32,
    generated: Generated,
}

/// The search for one prompt row.
struct BeamRow {
    /// At most `num_beams`, best first.
    beams: Vec<Beam>,
    /// At most `num_beams`, best first.
    finished: Vec<Hypothesis>,
    random: Option<RandomStream>,
    done: bool,
}

/// Searches all prompt rows; the best `num_return_sequences` of each, best first.
pub(super) fn search_rows<S: DecodeSession>(
    session: &mut S,
    run: &Run<'_>,
    prompts: &[Vec<u32>],
) -> Result<Vec<Vec<Generated>>, GenerateError> {
    let mut rows = prompts
        .iter()
        .enumerate()
        .map(|(row, prompt)| {
            let sequence = Sequence::new(run, row, prompt, false)?;
            Ok(BeamRow::new(run.config(), sequence))
        })
        .collect::<Result<Vec<_>, GenerateError>>()?;
    if !run.cancel.is_cancelled() {
        let mut scores = ask::first(session, &wanted(run, &rows))?;
        let mut scratch = Vec::new();
        let (mut parents, mut tokens) = (Vec::new(), Vec::new());
        loop {
            parents.clear();
            tokens.clear();
            for row in rows.iter_mut().filter(|row| !row.done) {
                row.advance(run, session, &mut scores, &mut scratch)?;
                if !row.done {
                    // All that the model learns of forks and deaths: which row of the last step each
                    // row of the next one continues. It rearranges its caches by that.
                    for beam in &mut row.beams {
                        parents.push(beam.slot);
                        tokens.push(beam.token);
                        beam.slot = tokens.len() - 1;
                    }
                }
            }
            if tokens.is_empty() || run.cancel.is_cancelled() {
                break;
            }
            scores = ask::next(session, &parents, &tokens, &wanted(run, &rows))?;
        }
    }
    let stopped = run.cancel.stopped();
    Ok(rows
        .into_iter()
        .map(|row| row.into_results(run.config(), stopped))
        .collect())
}

/// What a step must give so that every row's beams can be continued.
fn wanted(run: &Run<'_>, rows: &[BeamRow]) -> Wanted {
    let growing = rows.iter().filter(|row| !row.done);
    Wanted::of_all(growing.map(|row| {
        // All beams of a row are of one length.
        let at = row.beams.first().map(|beam| beam.sequence.position());
        let deciding = at.and_then(|at| run.rules.deciding(at));
        deciding.map_or(Wanted::Logits, Wanted::Top)
    }))
}

impl BeamRow {
    fn new(config: &GenerationConfig, sequence: Sequence) -> Self {
        Self {
            random: config.do_sample.then(|| RandomStream::new(config.seed, 0)),
            // One beam for the prompt, where the reference starts with `num_beams` copies of it and
            // gives all but one −10⁹: the first step fans it out.
            beams: vec![Beam {
                slot: sequence.row(),
                sequence,
                score: 0.0,
                token: 0,
            }],
            finished: Vec::new(),
            done: false,
        }
    }

    /// One step: every beam is continued, the best continuations go on or finish. Should the latest
    /// `scores` not decide which those are, all logits come in their place.
    fn advance<S: DecodeSession>(
        &mut self,
        run: &Run<'_>,
        session: &mut S,
        scores: &mut Scores,
        scratch: &mut Vec<f32>,
    ) -> Result<(), GenerateError> {
        let best = match self.best(run, scores, scratch)? {
            Some(best) => best,
            None => {
                ask::read_all(session, scores)?;
                self.best(run, scores, scratch)?.unwrap_or_default()
            }
        };
        self.take(run, best)
    }

    /// The best continuations of all beams, best first; `None` if too few logits are known to tell.
    fn best(
        &mut self,
        run: &Run<'_>,
        scores: &Scores,
        scratch: &mut Vec<f32>,
    ) -> Result<Option<Best>, GenerateError> {
        let Some(scales) = self.score_tokens(run, scores, scratch)? else {
            return Ok(None);
        };
        let candidates = self.best_candidates(run, scratch);
        let last = candidates.get(run.rules.candidates() - 1);
        let last = last.map_or(f32::NEG_INFINITY, |candidate| candidate.score);
        // One that equals the last might stand in its place, were its logit known.
        if scales
            .iter()
            .filter_map(|scale| scale.bar)
            .any(|bar| bar >= last)
        {
            return Ok(None);
        }
        let best = candidates.into_iter().map(|candidate| {
            let Scale { known, norm, .. } = &scales[candidate.beam];
            let logprob = norm.log_prob(known.logit(candidate.token));
            (candidate, logprob)
        });
        Ok(Some(best.collect()))
    }

    /// Goes on with the best continuations, or finishes them.
    fn take(&mut self, run: &Run<'_>, best: Best) -> Result<(), GenerateError> {
        let config = run.config();
        let mut beams = Vec::with_capacity(config.num_beams);
        for (rank, (candidate, logprob)) in best.into_iter().enumerate() {
            // Only a candidate among the first `num_beams` may finish: one that ends a sequence from
            // further down would take a place that a better, unfinished one may still deserve.
            let among_best = rank < config.num_beams;
            // Sampled candidates come in the order of their noise, not of their scores, so that all
            // must be seen before the best can be chosen.
            if !among_best && beams.len() == config.num_beams && !config.do_sample {
                break;
            }
            let beam = &self.beams[candidate.beam];
            let token = candidate.token as u32;
            let mut sequence = beam.sequence.clone();
            let growth = sequence.push(token, logprob, run)?;
            match growth.finish {
                None => beams.push(Beam {
                    sequence,
                    score: candidate.score,
                    slot: beam.slot,
                    token,
                }),
                // The further candidates exist only so that enough beams are left to go on.
                Some(reason) if among_best => {
                    self.finish(config, sequence, candidate.score, reason);
                }
                Some(_) => {}
            }
        }
        if beams.is_empty() && self.finished.is_empty() {
            return Err(no_allowed_token(&self.beams[0].sequence));
        }
        // In order already unless they were drawn at random.
        beams.sort_by(|a, b| descending(a.score, b.score));
        beams.truncate(config.num_beams);
        self.beams = beams;
        self.done = self.cannot_improve(config);
        Ok(())
    }

    /// Fills `scores` with the processed log-probabilities, `[beams, vocab]`. Returns what each beam's
    /// logits are counted by; `None` where one's are not known.
    fn score_tokens<'s>(
        &self,
        run: &Run<'_>,
        latest: &'s Scores,
        scores: &mut Vec<f32>,
    ) -> Result<Option<Vec<Scale<'s>>>, GenerateError> {
        scores.clear();
        let mut scales = Vec::with_capacity(self.beams.len());
        for beam in &self.beams {
            let bad = |value| bad_logits(&beam.sequence, value);
            let known = match latest.row(beam.slot) {
                RowScores::Known(known) => known,
                RowScores::NoDistribution(value) => return Err(bad(value)),
                RowScores::Crowded | RowScores::Likeliest(_) => return Ok(None),
            };
            let norm = known.normalizer().map_err(bad)?;
            known.spread(run.rules.vocab(), scores, |logit| norm.log_prob(logit));
            let bar = known.bar().map(|bar| norm.log_prob(bar) + beam.score);
            scales.push(Scale { known, norm, bar });
        }
        if run.rules.change_scores() {
            let positions: Vec<_> = self.beams.iter().map(|b| b.sequence.position()).collect();
            run.rules.apply(&positions, scores)?;
        }
        Ok(Some(scales))
    }

    /// The best continuations of all beams, or a sample of them without replacement: as many as
    /// leave `num_beams` to go on if each end token is among them in every beam.
    ///
    /// The sample is drawn by adding Gumbel noise to each log-probability and taking the largest
    /// (Kool et al., 2019), in one pass over the scores: a draw of one after the other would have to
    /// normalise again for each.
    fn best_candidates(&mut self, run: &Run<'_>, scores: &[f32]) -> Vec<Candidate> {
        let vocab = run.rules.vocab();
        let mut top = TopK::new(run.rules.candidates());
        for (i, (beam, row)) in self
            .beams
            .iter()
            .zip(scores.chunks_exact(vocab))
            .enumerate()
        {
            for (token, &log_prob) in row.iter().enumerate() {
                if log_prob == f32::NEG_INFINITY {
                    continue;
                }
                let score = log_prob + beam.score;
                let key = match &mut self.random {
                    Some(random) => score + random.gumbel(),
                    None => score,
                };
                let candidate = Candidate {
                    beam: i,
                    token,
                    score,
                };
                top.push(key, candidate);
            }
        }
        top.into_sorted().map(|(_, candidate)| candidate).collect()
    }

    fn finish(
        &mut self,
        config: &GenerationConfig,
        sequence: Sequence,
        score: f32,
        reason: FinishReason,
    ) {
        let score = length_normalized(score, sequence.len(), config);
        self.finished.push(Hypothesis {
            score,
            generated: sequence.into_generated(reason, Some(score)),
        });
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(config.num_beams);
    }

    /// Whether the search is over: `_check_early_stop_heuristic` and
    /// `_beam_search_has_unfinished_sequences` of the reference.
    fn cannot_improve(&self, config: &GenerationConfig) -> bool {
        let Some(best) = self.beams.first() else {
            return true;
        };
        let Some(worst) = self.finished.last() else {
            return false;
        };
        if self.finished.len() < config.num_beams {
            return false;
        }
        if config.early_stopping == EarlyStopping::True {
            return true;
        }
        // The best that an unfinished beam can still reach. Its log-probability can only fall, and
        // it is divided by a power of its length: with a penalty above 0 a longer text is divided by
        // more, which raises a negative score, so that the bound is at the longest length. The usual
        // heuristic takes the length of now, and may stop too early.
        let longest = config.early_stopping == EarlyStopping::Never && config.length_penalty > 0.0;
        let len = if longest {
            best.sequence.max_new()
        } else {
            best.sequence.len()
        };
        length_normalized(best.score, len, config) <= worst.score
    }

    /// The results, best first. Beams that still run were cancelled.
    fn into_results(mut self, config: &GenerationConfig, stopped: FinishReason) -> Vec<Generated> {
        if !self.done {
            for beam in std::mem::take(&mut self.beams) {
                self.finish(config, beam.sequence, beam.score, stopped);
            }
        }
        self.finished
            .into_iter()
            .take(config.num_return_sequences)
            .map(|hypothesis| hypothesis.generated)
            .collect()
    }
}

/// `score / len ** length_penalty`, the power in f64 as Python takes it.
fn length_normalized(score: f32, len: usize, config: &GenerationConfig) -> f32 {
    score / (len.max(1) as f64).powf(config.length_penalty) as f32
}
