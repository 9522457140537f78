//! Batches of one size.

use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;

use super::{error::TableError, rows::Read};

/// The batches of a table's rows, each of as many as were asked for but the last: where a batch begins
/// follows from the first row alone, not from how the file is laid out.
pub struct Batches {
    path: PathBuf,
    read: Read,
    size: usize,
    /// What was read and not handed out, never empty batches.
    waiting: Vec<RecordBatch>,
    is_over: bool,
}

impl Batches {
    pub(super) fn new(path: PathBuf, read: Read, size: usize) -> Self {
        Self {
            path,
            read,
            size: size.max(1),
            waiting: Vec::new(),
            is_over: false,
        }
    }

    fn gather(&mut self) -> Result<Option<RecordBatch>, TableError> {
        let mut rows: usize = self.waiting.iter().map(RecordBatch::num_rows).sum();
        while rows < self.size && !self.is_over {
            match self.read.next().transpose()? {
                None => self.is_over = true,
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => {
                    rows += batch.num_rows();
                    self.waiting.push(batch);
                }
            }
        }
        let Some(first) = self.waiting.first() else {
            return Ok(None);
        };
        let schema = first.schema();
        let mut left = self.size;
        let mut taken = Vec::new();
        for batch in std::mem::take(&mut self.waiting) {
            let some = batch.num_rows().min(left);
            if some > 0 {
                taken.push(batch.slice(0, some));
            }
            if some < batch.num_rows() {
                self.waiting
                    .push(batch.slice(some, batch.num_rows() - some));
            }
            left -= some;
        }
        if let [whole] = taken.as_slice() {
            return Ok(Some(whole.clone()));
        }
        let joined = concat_batches(&schema, &taken);
        joined
            .map(Some)
            .map_err(|error| TableError::format(&self.path, error))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.gather();
        if next.is_err() {
            // A file that failed once is not asked again.
            self.is_over = true;
            self.waiting.clear();
        }
        next.transpose()
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches")
            .field("path", &self.path)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
