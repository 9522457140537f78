//! How many rows have an error, of what was made before.

use std::{ops::Range, path::Path};

use blip2_io::tables::{Table, TableError, TextColumn};

use crate::{Failure, words::words};

/// How many rows are read at once.
const ROWS: usize = 8192;

/// Rows that have an error.
#[derive(Debug, Clone, Default)]
pub(super) struct Failed {
    pub(super) rows: u64,
    /// What the first of them tells.
    pub(super) first: Option<String>,
}

impl Failed {
    /// These and others behind them.
    pub(super) fn and(self, others: Self) -> Self {
        Self {
            rows: self.rows + others.rows,
            first: self.first.or(others.first),
        }
    }

    /// Takes note of a row's error.
    pub(super) fn add(&mut self, error: &str) {
        self.rows += 1;
        self.first.get_or_insert_with(|| error.to_string());
    }
}

/// The rows of a table's ranges whose column of this name is not null.
pub(super) fn failed(
    path: &Path,
    ranges: &[Range<u64>],
    column: &str,
) -> Result<Vec<Failed>, Failure> {
    counted(path, ranges, column).map_err(|error| {
        Failure::Work(format!(
            "{}; it is damaged or was changed since: delete it, and the same command computes its rows again",
            words(&error)
        ))
    })
}

fn counted(path: &Path, ranges: &[Range<u64>], column: &str) -> Result<Vec<Failed>, TableError> {
    let table = Table::open(path)?;
    let of = |range: &Range<u64>| {
        let mut failed = Failed::default();
        // A file of JSON lines without a row has no columns.
        if table.rows() == 0 {
            return Ok(failed);
        }
        for batch in table.batches_of(&[column], range.clone(), ROWS)? {
            let batch = batch?;
            let errors = batch.columns().first();
            let errors = errors.and_then(|errors| TextColumn::of(errors.as_ref()));
            let rows = 0..batch.num_rows();
            let errors = rows.filter_map(|row| errors.as_ref()?.get(row));
            errors.for_each(|error| failed.add(error));
        }
        Ok(failed)
    };
    ranges.iter().map(of).collect()
}
