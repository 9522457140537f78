//! What every kind of table can do.

use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::error::TableError;

/// Batches as a file gives them.
pub(super) type Read = Box<dyn Iterator<Item = Result<RecordBatch, TableError>> + Send>;

/// Rows that can be read from any of them on.
pub(super) trait Rows {
    fn schema(&self) -> SchemaRef;

    fn count(&self) -> u64;

    /// A hash by which it is seen that the table is another one now.
    fn fingerprint(&self) -> u64;

    /// The rows of a range, in batches of about `size`, with the columns at these places.
    fn read(&self, range: Range<u64>, size: usize, columns: &[usize]) -> Result<Read, TableError>;
}
