//! A list of pictures as a table.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use xxhash_rust::xxh3::Xxh3;

use super::{
    error::TableError,
    rows::{Read, Rows},
};

/// Pictures by their paths.
#[derive(Debug)]
pub(super) struct PictureList {
    paths: Arc<[String]>,
    fingerprint: u64,
}

impl PictureList {
    /// A name that is no UTF-8 is shown as far as it can be: a table keeps texts, and whoever opens what is
    /// shown finds nothing there, so that the row has an error and the others go on.
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let mut texts = Vec::with_capacity(paths.len());
        let mut hasher = Xxh3::new();
        for path in paths {
            let size = fs::metadata(path).map_or(0, |found| found.len());
            let text = path.to_string_lossy();
            hasher.update(text.as_bytes());
            hasher.update(&size.to_le_bytes());
            texts.push(text.into_owned());
        }
        Self {
            paths: texts.into(),
            fingerprint: hasher.digest(),
        }
    }

    fn schema_of(columns: &[usize]) -> SchemaRef {
        let image = Field::new("image", DataType::Utf8, false);
        let fields: Vec<Field> = columns.iter().map(|_| image.clone()).collect();
        Arc::new(Schema::new(fields))
    }
}

impl Rows for PictureList {
    fn schema(&self) -> SchemaRef {
        Self::schema_of(&[0])
    }

    fn count(&self) -> u64 {
        self.paths.len() as u64
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn read(&self, range: Range<u64>, size: usize, columns: &[usize]) -> Result<Read, TableError> {
        let place = |row: u64| {
            usize::try_from(row)
                .unwrap_or(usize::MAX)
                .min(self.paths.len())
        };
        let (mut at, end) = (place(range.start), place(range.end));
        let (paths, schema, size) = (
            Arc::clone(&self.paths),
            Self::schema_of(columns),
            size.max(1),
        );
        Ok(Box::new(std::iter::from_fn(move || {
            let rows = paths.get(at..(at + size).min(end))?;
            at += rows.len();
            let array = || Arc::new(StringArray::from_iter_values(rows)) as _;
            let arrays = schema.fields().iter().map(|_| array()).collect();
            let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)
                .map_err(|error| TableError::format(Path::new("pictures"), error));
            (!rows.is_empty()).then_some(batch)
        })))
    }
}
