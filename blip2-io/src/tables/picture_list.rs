//! A list of pictures as a table.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use arrow_array::StringArray;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use xxhash_rust::xxh3::Xxh3;

use super::{
    error::TableError,
    rows::{Known, Read, Rows, batch_of},
};

/// Pictures by their paths.
#[derive(Debug)]
pub(super) struct PictureList {
    paths: Arc<[String]>,
    known: Known,
}

impl PictureList {
    /// A name that is no UTF-8 is shown as far as it can be: a table keeps texts, and whoever opens what is
    /// shown finds nothing there, so that the row has an error and the others go on.
    pub(super) fn new(paths: &[PathBuf], name: impl Fn(&Path) -> PathBuf) -> Self {
        let mut texts = Vec::with_capacity(paths.len());
        let mut hasher = Xxh3::new();
        for path in paths {
            let found = fs::metadata(path).ok();
            let size = found.as_ref().map_or(0, fs::Metadata::len);
            let written = found.and_then(|found| found.modified().ok());
            let written = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let written = written.map_or(0, |since| since.as_nanos());
            let name = name(path);
            let text = name.to_string_lossy();
            hasher.update(text.as_bytes());
            hasher.update(&size.to_le_bytes());
            hasher.update(&written.to_le_bytes());
            texts.push(text.into_owned());
        }
        Self {
            known: Known {
                schema: Self::schema_of(&[0]),
                rows: texts.len() as u64,
                fingerprint: hasher.digest(),
            },
            paths: texts.into(),
        }
    }

    fn schema_of(columns: &[usize]) -> SchemaRef {
        let image = Field::new("image", DataType::Utf8, false);
        let fields: Vec<Field> = columns.iter().map(|_| image.clone()).collect();
        Arc::new(Schema::new(fields))
    }
}

impl Rows for PictureList {
    fn known(&self) -> &Known {
        &self.known
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
            let arrays = schema.fields().iter().map(|_| array());
            let batch = batch_of(Path::new("pictures"), &schema, arrays, rows.len());
            (!rows.is_empty()).then_some(batch)
        })))
    }
}
