//! What is asked of a session for each step: as little as decides the next tokens.

use blip2_kernels::{Likeliest, MOST_TOP, TopLogits};

use super::GenerateError;
use super::logits::{Logits, Scores};
use super::rules::SPARE;
use super::session::DecodeSession;

/// What a step must give so that the next tokens can be chosen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// All logits.
    Logits,
    /// The `k` largest of each row.
    Top(usize),
    /// The likeliest token of each row that is none of these.
    Likeliest(Vec<u32>),
}

impl Wanted {
    /// What serves all of several rows.
    pub(super) fn of_all(each: impl Iterator<Item = Self>) -> Self {
        each.reduce(Self::and).unwrap_or(Self::Logits)
    }

    fn and(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        match (self.top(), other.top()) {
            (Some(one), Some(other)) => Self::Top(one.max(other)),
            _ => Self::Logits,
        }
    }

    /// How many of the largest logits serve as well.
    fn top(&self) -> Option<usize> {
        match self {
            Self::Logits => None,
            Self::Top(k) => Some(*k),
            Self::Likeliest(forbidden) => Some((1 + forbidden.len() + SPARE).min(MOST_TOP)),
        }
    }
}

/// Runs the prompt and checks the shape of what comes back.
pub(super) fn prefill<S: DecodeSession>(session: &mut S) -> Result<Logits, GenerateError> {
    let rows = session.rows();
    let logits = session.prefill().map_err(GenerateError::session)?;
    checked(logits, rows, session.vocab_size())
}

/// Runs one step and checks the shape of what comes back.
pub(super) fn step<S: DecodeSession>(
    session: &mut S,
    parents: &[usize],
    tokens: &[u32],
) -> Result<Logits, GenerateError> {
    let logits = session
        .step(parents, tokens)
        .map_err(GenerateError::session)?;
    checked(logits, parents.len(), session.vocab_size())
}

/// Runs the prompt for what is wanted, or for more than that.
pub(super) fn first<S: DecodeSession>(
    session: &mut S,
    wanted: &Wanted,
) -> Result<Scores, GenerateError> {
    let rows = session.rows();
    let scores = match wanted {
        Wanted::Logits => session.prefill().map(Scores::Logits),
        Wanted::Top(k) => session.prefill_top(*k),
        Wanted::Likeliest(forbidden) => session.prefill_greedy(forbidden),
    };
    found(scores.map_err(GenerateError::session)?, rows, session)
}

/// Runs one step, as [`first`] does the prompt.
pub(super) fn next<S: DecodeSession>(
    session: &mut S,
    parents: &[usize],
    tokens: &[u32],
    wanted: &Wanted,
) -> Result<Scores, GenerateError> {
    let scores = match wanted {
        Wanted::Logits => session.step(parents, tokens).map(Scores::Logits),
        Wanted::Top(k) => session.step_top(parents, tokens, *k),
        Wanted::Likeliest(forbidden) => session.step_greedy(parents, tokens, forbidden),
    };
    let scores = scores.map_err(GenerateError::session)?;
    found(scores, parents.len(), session)
}

/// All logits of the step whose `scores` did not decide what comes next, in their place.
pub(super) fn read_all<S: DecodeSession>(
    session: &mut S,
    scores: &mut Scores,
) -> Result<(), GenerateError> {
    let (rows, vocab) = (scores.rows(), session.vocab_size());
    let logits = match session.all_logits().map_err(GenerateError::session)? {
        Some(logits) => checked(logits, rows, vocab)?,
        None => return Err(mismatch([0, vocab], [rows, vocab])),
    };
    *scores = Scores::Logits(logits);
    Ok(())
}

fn found<S: DecodeSession>(
    scores: Scores,
    rows: usize,
    session: &S,
) -> Result<Scores, GenerateError> {
    let vocab = session.vocab_size();
    let is_known = |id: u32| (id as usize) < vocab;
    let fits = match &scores {
        Scores::Logits(logits) => logits.vocab() == vocab,
        Scores::Likeliest(rows) => rows.iter().all(|row| match row {
            Likeliest::Token { id, .. } => is_known(*id),
            _ => true,
        }),
        Scores::Top(rows) => rows.iter().all(|row| match row {
            TopLogits::Found(top) => top.tokens.iter().all(|&(id, _)| is_known(id)),
            _ => true,
        }),
    };
    let found = match &scores {
        Scores::Logits(logits) => [logits.rows(), logits.vocab()],
        scores => [scores.rows(), vocab],
    };
    match fits && found[0] == rows {
        true => Ok(scores),
        false => Err(mismatch(found, [rows, vocab])),
    }
}

fn checked(logits: Logits, rows: usize, vocab: usize) -> Result<Logits, GenerateError> {
    let (found, expected) = ([logits.rows(), logits.vocab()], [rows, vocab]);
    match found == expected {
        true => Ok(logits),
        false => Err(mismatch(found, expected)),
    }
}

fn mismatch(
    [rows, vocab]: [usize; 2],
    [expected_rows, expected_vocab]: [usize; 2],
) -> GenerateError {
    GenerateError::SessionShape {
        rows,
        vocab,
        expected_rows,
        expected_vocab,
    }
}
