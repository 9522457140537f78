//! Parquet files, of which only the batches that are asked for are in memory.

use std::{
    fs::File,
    io::{self, Read as _, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_schema::Schema;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder,
        },
    },
    file::metadata::RowGroupMetaData,
};
use xxhash_rust::xxh3::Xxh3;

use super::{
    error::TableError,
    rows::{Known, Read, Rows},
};
use crate::regular::open_regular;

/// The bytes at a file's end that say how long its metadata is.
const TAIL: u64 = 8;

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
            let metadata = ArrowReaderMetadata::load(&opened, ArrowReaderOptions::new())
                .map_err(|error| TableError::format(path, error))?;
            hasher.update(&footer(&opened).map_err(TableError::read(path))?);
            let rows = u64::try_from(metadata.metadata().file_metadata().num_rows());
            let rows = rows.map_err(|error| TableError::format(path, error))?;
            files.push(Arc::new(ParquetFile {
                path: path.clone(),
                metadata,
                rows,
            }));
        }
        let schema = match files.first() {
            Some(first) => Arc::clone(first.metadata.schema()),
            None => Arc::new(Schema::empty()),
        };
        for file in &files {
            file.check_alike(&schema, &files)?;
        }
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
        // A file is opened when the one before it is read.
        let mut parts = parts.into_iter();
        let mut open: Option<(Arc<ParquetFile>, ParquetRecordBatchReader)> = None;
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                if let Some((file, reader)) = &mut open
                    && let Some(batch) = reader.next()
                {
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

fn count(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// A file's metadata as it is written, with the places and sizes of all that is in it.
fn footer(mut file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let mut tail = [0; TAIL as usize];
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, ..] = tail;
    let footer = u64::from(u32::from_le_bytes([a, b, c, d])) + TAIL;
    file.seek(SeekFrom::Start(length.saturating_sub(footer)))?;
    let mut bytes = Vec::new();
    file.take(footer).read_to_end(&mut bytes)?;
    Ok(bytes)
}
