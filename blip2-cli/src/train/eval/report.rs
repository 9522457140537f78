//! What an evaluation tells: scores, scores by kind, and what is most often wrong.

use std::collections::BTreeMap;

use blip2_io::dataset::{Dataset, Example};
use blip2_train::{Answered, Scoring};

use crate::Failure;

/// How many kinds of wrong answers are told.
const MOST_WRONG: usize = 20;

/// Each score of all examples, and tables by the kinds of questions and answers that the data names.
pub(super) fn scores(said: &Answered, scores: &[Scoring]) -> Result<(), Failure> {
    for (score, found) in scores.iter().zip(&said.evaluations) {
        say!(
            "{score} {:.4} of {} examples",
            found.score,
            found.each.len()
        );
    }
    by_kind(said, scores, "question type", |example| {
        example.question_type.as_deref()
    })?;
    by_kind(said, scores, "answer type", |example| {
        example.answer_type.as_deref()
    })
}

/// Of how many records nothing is known, since they could not be used.
pub(super) fn left_out(data: &Dataset) -> Result<(), Failure> {
    match data.broken().len() {
        0 => {}
        1 => say!("left out 1 record that could not be used"),
        count => say!("left out {count} records that could not be used"),
    }
    Ok(())
}

fn by_kind<'d>(
    said: &'d Answered,
    scores: &[Scoring],
    title: &str,
    kind: impl Fn(&'d Example) -> Option<&'d str> + Copy,
) -> Result<(), Failure> {
    let evaluations = said.evaluations.iter();
    let columns = evaluations.map(|found| found.by_kind(&said.data, kind));
    let columns: Vec<_> = columns.collect();
    let Some(first) = columns.first().filter(|kinds| !kinds.is_empty()) else {
        return Ok(());
    };
    let mut header = vec![title.to_string()];
    header.extend(scores.iter().map(|score| score.to_string()));
    header.push("examples".into());
    let mut rows = vec![header];
    for (place, kind) in first.iter().enumerate() {
        let mut row = vec![kind.name.clone()];
        let own = columns.iter().filter_map(|kinds| kinds.get(place));
        row.extend(own.map(|kind| format!("{:.4}", kind.score)));
        row.push(kind.examples.to_string());
        rows.push(row);
    }
    table(&rows)
}

/// Which wrong answers were given most often in place of which right ones.
pub(super) fn wrong(said: &Answered, scores: &[Scoring]) -> Result<(), Failure> {
    let (Some(score), Some(found)) = (scores.first(), said.evaluations.first()) else {
        return Ok(());
    };
    if !is_right_or_wrong(*score) {
        return Ok(());
    }
    let mut pairs: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let answers = found.answers.iter().zip(&found.each);
    for (example, (answer, score)) in said.data.examples().iter().zip(answers) {
        if *score == 0.0 {
            *pairs.entry((answer, right(example))).or_default() += 1;
        }
    }
    if pairs.is_empty() {
        return Ok(());
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let mut rows = vec![vec!["wrong".into(), "right".into(), "times".into()]];
    let most = pairs.into_iter().take(MOST_WRONG);
    rows.extend(
        most.map(|((answer, right), times)| vec![answer.to_string(), right, times.to_string()]),
    );
    table(&rows)
}

/// Of captions none is wrong.
fn is_right_or_wrong(score: Scoring) -> bool {
    matches!(
        score,
        Scoring::ExactMatch | Scoring::ExactMatchAnyCase | Scoring::Vqa | Scoring::MultipleChoice
    )
}

/// The right answer: what most people said.
pub(super) fn right(example: &Example) -> String {
    example.usual_answer().unwrap_or_default().to_string()
}

/// The most characters of a cell: answers, and what data calls its kinds, may be of any length.
const WIDEST: usize = 60;

/// A text on one line, cut where it is too wide for a table.
fn cell(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    match text.char_indices().nth(WIDEST) {
        None => text,
        Some(_) => text.chars().take(WIDEST - 1).chain(['…']).collect(),
    }
}

/// Rows of cells, after an empty line: the first column to the left, numbers to the right.
fn table(rows: &[Vec<String>]) -> Result<(), Failure> {
    let rows = rows.iter().map(|row| row.iter().map(|text| cell(text)));
    let rows: Vec<Vec<String>> = rows.map(Iterator::collect).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    say!("");
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let cells: Vec<String> = cells.collect();
        say!("{}", cells.join("   "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_of_few_characters() {
        assert_eq!(cell("a dog"), "a dog");
        assert_eq!(cell("a\nb\u{1b}[2J"), "a b [2J");
        let widest = "é".repeat(WIDEST);
        assert_eq!(cell(&widest), widest);
        let cut = cell(&"é".repeat(WIDEST + 1));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (WIDEST, true));
        // More than a width that is formatted may be.
        assert!(table(&[vec!["red ".repeat(70_000), "1".into()]]).is_ok());
    }
}
