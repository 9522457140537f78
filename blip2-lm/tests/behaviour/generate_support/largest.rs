//! A session that gives the largest logits in place of all, as a device does.

use std::convert::Infallible;

use blip2_lm::generate::{DecodeSession, Likeliest, Logits, Scores, Top, TopLogits};

/// Gives no more than `most` of the logits that it is asked for, however many those are, and of every
/// `crowded`-th row none.
pub(crate) struct Largest<S> {
    session: S,
    most: usize,
    crowded: usize,
    latest: Option<Logits>,
    /// How many rows of the largest it gave, and how often all logits were asked for after all.
    pub(crate) given: usize,
    pub(crate) read: usize,
}

impl<S> Largest<S> {
    pub(crate) fn new(session: S, most: usize, crowded: usize) -> Self {
        Self {
            session,
            most,
            crowded,
            latest: None,
            given: 0,
            read: 0,
        }
    }

    fn of(&mut self, logits: Logits, k: usize) -> Scores {
        let rows = (0..logits.rows()).map(|row| {
            self.given += 1;
            match self.given % self.crowded {
                0 => TopLogits::Crowded,
                _ => largest(logits.row(row), k.min(self.most)),
            }
        });
        let scores = Scores::Top(rows.collect());
        self.latest = Some(logits);
        scores
    }
}

/// The `k` largest by a plain sort, with the sum over all as the engine takes it.
fn largest(logits: &[f32], k: usize) -> TopLogits {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return TopLogits::NoDistribution(max);
    }
    let sum: f64 = logits.iter().map(|&x| f64::from((x - max).exp())).sum();
    let mut tokens: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    tokens.retain(|(_, logit)| *logit > f32::NEG_INFINITY);
    tokens.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let is_all = tokens.len() <= k;
    tokens.truncate(k);
    TopLogits::Found(Top::new(tokens, is_all, sum.ln() as f32))
}

/// The likeliest token that is none of `forbidden`.
fn likeliest(logits: &[f32], forbidden: &[u32]) -> Option<Likeliest> {
    let TopLogits::Found(top) = largest(logits, logits.len()) else {
        return None;
    };
    let mut tokens = top.tokens.iter();
    let (id, logit) = tokens.find(|(id, _)| !forbidden.contains(id))?;
    let sum = top.log_sum.exp();
    Some(Likeliest::of(&[*id as f32, *logit, top.tokens[0].1, sum])[0])
}

impl<S: DecodeSession<Error = Infallible>> DecodeSession for Largest<S> {
    type Error = Infallible;

    fn vocab_size(&self) -> usize {
        self.session.vocab_size()
    }

    fn rows(&self) -> usize {
        self.session.rows()
    }

    fn prefill(&mut self) -> Result<Logits, Infallible> {
        self.session.prefill()
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, Infallible> {
        self.session.step(parents, tokens)
    }

    fn prefill_greedy(&mut self, forbidden: &[u32]) -> Result<Scores, Infallible> {
        self.session
            .prefill()
            .map(|logits| greedy(logits, forbidden))
    }

    fn step_greedy(
        &mut self,
        parents: &[usize],
        tokens: &[u32],
        forbidden: &[u32],
    ) -> Result<Scores, Infallible> {
        let logits = self.session.step(parents, tokens)?;
        Ok(greedy(logits, forbidden))
    }

    fn prefill_top(&mut self, k: usize) -> Result<Scores, Infallible> {
        let logits = self.session.prefill()?;
        Ok(self.of(logits, k))
    }

    fn step_top(
        &mut self,
        parents: &[usize],
        tokens: &[u32],
        k: usize,
    ) -> Result<Scores, Infallible> {
        let logits = self.session.step(parents, tokens)?;
        Ok(self.of(logits, k))
    }

    fn all_logits(&mut self) -> Result<Option<Logits>, Infallible> {
        self.read += 1;
        Ok(self.latest.take())
    }

    fn remaining_positions(&self) -> Option<usize> {
        self.session.remaining_positions()
    }
}

fn greedy(logits: Logits, forbidden: &[u32]) -> Scores {
    let rows = (0..logits.rows()).map(|row| likeliest(logits.row(row), forbidden));
    match rows.collect() {
        Some(found) => Scores::Likeliest(found),
        None => Scores::Logits(logits),
    }
}
