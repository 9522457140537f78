//! Parquet files, of which only the batches that are asked for are in memory.

use std::{
    collections::HashSet,
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder,
        },
    },
    errors::ParquetError,
    file::metadata::RowGroupMetaData,
};
use xxhash_rust::xxh3::Xxh3;

use super::{
    error::TableError,
    parquet_print,
    plain_types::plain,
    rows::{Known, Read, Rows},
};
use crate::regular::open_regular;

/// Files of the same columns, one after another.
#[derive(Debug)]
pub(super) struct ParquetFiles {
    files: Vec<Arc<ParquetFile>>,
    known: Known,
}

#[derive(Debug)]
struct ParquetFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    rows: u64,
}

impl ParquetFiles {
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, TableError> {
        let mut files = Vec::new();
        let mut hasher = Xxh3::new();
        for path in paths {
            let opened = open_regular(path).map_err(TableError::read(path))?;
            let metadata = metadata_of(&opened).map_err(|error| TableError::format(path, error))?;
            check_names(path, metadata.schema())?;
            parquet_print::add(&mut hasher, &opened, metadata.metadata())
                .map_err(TableError::read(path))?;
            let rows = u64::try_from(metadata.metadata().file_metadata().num_rows());
            let rows = rows.map_err(|error| TableError::format(path, error))?;
            files.push(Arc::new(ParquetFile {
                path: path.clone(),
                metadata,
                rows,
            }));
        }
        let first = match files.first() {
            Some(first) => Arc::clone(first.metadata.schema()),
            None => Arc::new(Schema::empty()),
        };
        for file in &files {
            file.check_alike(&first, &files)?;
        }
        let schema = of_all(&first, &files);
        let known = Known {
            schema,
            rows: files.iter().map(|file| file.rows).sum(),
            fingerprint: hasher.digest(),
        };
        Ok(Self { files, known })
    }
}

impl Rows for ParquetFiles {
    fn known(&self) -> &Known {
        &self.known
    }

    fn read(&self, range: Range<u64>, size: usize, columns: &[usize]) -> Result<Read, TableError> {
        let mut parts = Vec::new();
        let mut first = 0;
        for file in &self.files {
            let begin = range.start.clamp(first, first + file.rows) - first;
            let end = range.end.clamp(first, first + file.rows) - first;
            if begin < end {
                parts.push((Arc::clone(file), begin..end));
            }
            first += file.rows;
        }
        let columns = columns.to_vec();
        let schema = self.known.schema.project(&columns);
        let schema = schema.map_err(|error| TableError::format(Path::new(""), error))?;
        let schema = Arc::new(schema);
        // A file is opened when the one before it is read.
        let mut parts = parts.into_iter();
        let mut open: Option<(Arc<ParquetFile>, ParquetRecordBatchReader)> = None;
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                if let Some((file, reader)) = &mut open
                    && let Some(batch) = reader.next()
                {
                    let batch = batch.and_then(|batch| with_schema(&batch, &schema));
                    return Some(batch.map_err(|error| TableError::format(&file.path, error)));
                }
                let (file, rows) = parts.next()?;
                match file.reader(rows, size, &columns) {
                    Ok(reader) => open = Some((file, reader)),
                    Err(error) => return Some(Err(error)),
                }
            }
        })))
    }
}

impl ParquetFile {
    /// Checks that the file has the first one's columns.
    fn check_alike(&self, first: &Schema, files: &[Arc<Self>]) -> Result<(), TableError> {
        let own = self.metadata.schema();
        let name_of = files.first().map_or(Path::new(""), |file| &file.path);
        let other = |column: &str, reason: String| TableError::Column {
            path: self.path.clone(),
            column: column.to_string(),
            reason,
        };
        for (place, field) in first.fields().iter().enumerate() {
            match own.fields().get(place) {
                Some(found) if found.name() == field.name() => {
                    if found.data_type() != field.data_type() {
                        let reason = format!(
                            "holds {} where {} has {}",
                            found.data_type(),
                            name_of.display(),
                            field.data_type()
                        );
                        return Err(other(field.name(), reason));
                    }
                }
                _ => {
                    let reason = format!("of {} is not at its place in it", name_of.display());
                    return Err(other(field.name(), reason));
                }
            }
        }
        match own.fields().get(first.fields().len()) {
            Some(more) => {
                let reason = format!("is not in {}", name_of.display());
                Err(other(more.name(), reason))
            }
            None => Ok(()),
        }
    }

    /// Reads some of the file's rows, of which there is at least one.
    fn reader(
        &self,
        rows: Range<u64>,
        size: usize,
        columns: &[usize],
    ) -> Result<ParquetRecordBatchReader, TableError> {
        let file = open_regular(&self.path).map_err(TableError::read(&self.path))?;
        let (groups, offset) = self.groups(&rows);
        let limit = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
        let metadata = self.metadata.clone();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_row_groups(groups)
            .with_offset(offset)
            .with_limit(limit)
            .with_batch_size(size.max(1))
            .with_projection(mask)
            .build()
            .map_err(|error| TableError::format(&self.path, error))
    }

    /// The row groups in which rows lie, and how many rows of the first are before them.
    fn groups(&self, rows: &Range<u64>) -> (Vec<usize>, usize) {
        let mut groups = Vec::new();
        let (mut first, mut offset) = (0, 0);
        let of_file = self.metadata.metadata().row_groups();
        for (place, group) in of_file.iter().enumerate() {
            let end = first + count(group);
            // A row group without rows has no pages that could be read.
            if first < end && first < rows.end && end > rows.start {
                if groups.is_empty() {
                    offset = rows.start.saturating_sub(first);
                }
                groups.push(place);
            }
            first = end;
        }
        (groups, usize::try_from(offset).unwrap_or(usize::MAX))
    }
}

/// What a file says of itself. Dictionaries are read as what they stand for: files of one table number their
/// words differently, and all words together may be more than the numbers of one file can name.
fn metadata_of(file: &File) -> Result<ArrowReaderMetadata, ParquetError> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    match plain(metadata.schema()) {
        None => Ok(metadata),
        Some(plain) => {
            let options = ArrowReaderOptions::new().with_schema(plain);
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
        }
    }
}

fn check_names(path: &Path, schema: &Schema) -> Result<(), TableError> {
    let mut names = HashSet::new();
    let twice = schema
        .fields()
        .iter()
        .find(|field| !names.insert(field.name()));
    match twice {
        None => Ok(()),
        Some(field) => Err(TableError::Column {
            path: path.to_path_buf(),
            column: field.name().clone(),
            reason: "is there twice; write the file again with a name of its own for each column"
                .into(),
        }),
    }
}

/// The first file's schema, in which may be null what may be in any file.
fn of_all(first: &SchemaRef, files: &[Arc<ParquetFile>]) -> SchemaRef {
    let fields = first.fields().iter().enumerate().map(|(place, field)| {
        let is_null = |file: &Arc<ParquetFile>| {
            let own = file.metadata.schema().fields().get(place);
            own.is_some_and(|own| own.is_nullable())
        };
        let nullable = files.iter().any(is_null);
        field.as_ref().clone().with_nullable(nullable)
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, first.metadata().clone()))
}

/// A file's rows as those of the table.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
}

fn count(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}
