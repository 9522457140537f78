//! What every kind of table can do.

use std::{ops::Range, path::Path, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;

use super::error::TableError;

/// Batches as a file gives them.
pub(super) type Read = Box<dyn Iterator<Item = Result<RecordBatch, TableError>> + Send>;

/// What is known of a table when it was looked through.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) schema: SchemaRef,
    /// How many rows there are.
    pub(super) rows: u64,
    /// A hash by which it is seen that the table is another one now.
    pub(super) fingerprint: u64,
}

impl Known {
    /// How many rows of a range there are.
    pub(super) fn count_in(&self, range: &Range<u64>) -> u64 {
        range.end.min(self.rows).saturating_sub(range.start)
    }
}

/// Rows that can be read from any of them on.
pub(super) trait Rows {
    fn known(&self) -> &Known;

    /// The rows of a range, in batches of about `size`, with the columns at these places.
    fn read(&self, range: Range<u64>, size: usize, columns: &[usize]) -> Result<Read, TableError>;
}

/// A batch of so many rows, which may have no column.
pub(super) fn batch_of(
    path: &Path,
    schema: &SchemaRef,
    arrays: impl Iterator<Item = ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, TableError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays.collect(), &options);
    batch.map_err(|error| TableError::format(path, error))
}

/// What is said of a file that has fewer rows than when it was looked through.
pub(super) fn shorter(path: &Path) -> TableError {
    TableError::format(path, "the file became shorter while it was read")
}
