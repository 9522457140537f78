//! How many rows have an error, of parts that were made before.

use std::path::PathBuf;

use arrow_array::Array;
use blip2_io::tables::Table;

use crate::Failure;

/// How many rows are read at once.
const ROWS: usize = 8192;

/// The rows of tables whose column of this name is not null.
pub(super) fn failed(tables: &[PathBuf], column: &str) -> Result<u64, Failure> {
    let mut failed = 0;
    for path in tables {
        let table = Table::open(path).map_err(Failure::work)?;
        // A file of JSON lines without a row has no columns.
        if table.rows() == 0 {
            continue;
        }
        let batches = table.batches_of(&[column], 0..table.rows(), ROWS);
        for batch in batches.map_err(Failure::work)? {
            let batch = batch.map_err(Failure::work)?;
            let errors = batch.columns().first();
            failed += errors.map_or(0, |errors| errors.len() - errors.null_count()) as u64;
        }
    }
    Ok(failed)
}
