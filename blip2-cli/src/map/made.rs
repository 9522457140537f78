//! New columns in the making.

use std::sync::Arc;

use arrow_array::{
    ArrayRef,
    builder::{Float32Builder, ListBuilder, StringBuilder},
};
use arrow_schema::ArrowError;
use blip2_core::{Answer, Comparison, FinishReason, Ranked};
use blip2_io::tables::vector_column;

use super::verbs::Verbs;

/// What was computed of a row.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) caption: Option<Answer>,
    pub(super) answer: Option<Answer>,
    /// The likeliest first.
    pub(super) ranked: Option<Vec<Ranked>>,
    pub(super) scored: Option<Ranked>,
    pub(super) embedding: Option<Vec<f32>>,
    pub(super) compared: Option<Comparison>,
    /// What went wrong, each thing once.
    errors: Vec<String>,
}

impl Made {
    /// Takes a result, or what went wrong.
    pub(super) fn take<T>(&mut self, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    pub(super) fn fail(&mut self, error: String) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// What went wrong, if anything did.
    pub(super) fn error(&self) -> Option<String> {
        (!self.errors.is_empty()).then(|| self.errors.join("; "))
    }
}

/// The new columns of some rows, in the order of [`Verbs::fields`].
pub(super) fn columns(
    verbs: &Verbs,
    shape: &[usize],
    rows: &mut [Made],
) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut columns = Vec::new();
    if verbs.caption.is_some() {
        written(&mut columns, rows.iter().map(|row| row.caption.as_ref()));
    }
    if verbs.answer {
        written(&mut columns, rows.iter().map(|row| row.answer.as_ref()));
    }
    if verbs.rank.is_some() {
        let best = |row: &Made| {
            row.ranked
                .as_ref()
                .and_then(|ranked| ranked.first().cloned())
        };
        columns.push(texts(rows.iter().map(|row| Some(best(row)?.text))));
        columns.push(numbers(rows.iter().map(|row| Some(best(row)?.share))));
        columns.push(numbers(rows.iter().map(|row| Some(best(row)?.score))));
        columns.push(shares(rows));
    }
    if verbs.score.is_some() {
        let scored = rows.iter().map(|row| row.scored.as_ref());
        columns.push(numbers(scored.clone().map(|row| Some(row?.score))));
        columns.push(numbers(scored.map(|row| Some(confidence(&row?.logprobs)))));
    }
    if verbs.embed {
        let vectors: Vec<_> = rows.iter_mut().map(|row| row.embedding.take()).collect();
        columns.push(vector_column(shape, &vectors)?);
    }
    if verbs.matched.is_some() {
        let compared = rows.iter().map(|row| row.compared.as_ref());
        let matched = compared.clone();
        columns.push(numbers(
            matched.clone().map(|row| Some(row?.matched.probability)),
        ));
        columns.push(numbers(matched.map(|row| Some(row?.matched.logit))));
        columns.push(numbers(compared.map(|row| Some(row?.similarity))));
    }
    columns.push(texts(rows.iter().map(Made::error)));
    Ok(columns)
}

/// Text, confidence, log-probability and why it ended.
fn written<'a>(
    columns: &mut Vec<ArrayRef>,
    answers: impl Iterator<Item = Option<&'a Answer>> + Clone,
) {
    columns.push(texts(answers.clone().map(|row| Some(row?.text.clone()))));
    columns.push(numbers(answers.clone().map(|row| Some(row?.confidence()))));
    let log_prob = |answer: &Answer| answer.log_probs().into_iter().sum();
    columns.push(numbers(answers.clone().map(|row| Some(log_prob(row?)))));
    columns.push(texts(answers.map(|row| name(row?.finish_reason))));
}

/// The geometric mean of tokens' probabilities.
fn confidence(log_probs: &[f32]) -> f32 {
    match log_probs.len() {
        0 => 0.0,
        count => (log_probs.iter().sum::<f32>() / count as f32).exp(),
    }
}

/// Why a text ended, as JSON has it.
fn name(reason: FinishReason) -> Option<String> {
    let value = serde_json::to_value(reason).ok()?;
    value.as_str().map(str::to_string)
}

fn texts(rows: impl Iterator<Item = Option<String>>) -> ArrayRef {
    let mut array = StringBuilder::new();
    rows.for_each(|row| array.append_option(row));
    Arc::new(array.finish())
}

fn numbers(rows: impl Iterator<Item = Option<f32>>) -> ArrayRef {
    let mut array = Float32Builder::new();
    rows.for_each(|row| array.append_option(row));
    Arc::new(array.finish())
}

/// The share of each given answer, in the order in which they were given.
fn shares(rows: &[Made]) -> ArrayRef {
    let mut lists = ListBuilder::new(Float32Builder::new());
    for row in rows {
        let Some(ranked) = &row.ranked else {
            lists.append_null();
            continue;
        };
        let mut given: Vec<&Ranked> = ranked.iter().collect();
        given.sort_by_key(|ranked| ranked.index);
        given
            .iter()
            .for_each(|ranked| lists.values().append_value(ranked.share));
        lists.append(true);
    }
    Arc::new(lists.finish())
}
