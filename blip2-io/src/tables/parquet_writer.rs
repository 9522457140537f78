//! Parquet, such that the same rows give the same bytes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use parquet::{
    arrow::{ArrowSchemaConverter, ArrowWriter},
    basic::{Compression, LogicalType, Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};
use serde_json::Value;

use super::{error::TableError, row_size::row_size};
use crate::new_file::NewFile;

/// How many rows are encoded together, at most.
const TOGETHER: usize = 64;
/// How many bytes are encoded together, about.
const TOGETHER_BYTES: usize = 8 << 20;
/// How many bytes a row group has, about: so much is in memory until it is written.
const GROUP_BYTES: usize = 32 << 20;
/// What the hub's library knows of columns' meaning, in a schema's metadata.
const KEPT: &str = "huggingface";

/// A Parquet file in the making.
///
/// Where pages and row groups end follows from the rows alone, not from the batches in which they
/// come: rows are gathered until there are [`TOGETHER`] of them, counted from the file's first, or
/// until they have [`TOGETHER_BYTES`].
pub(super) struct ParquetWriter {
    path: PathBuf,
    writer: ArrowWriter<NewFile>,
    schema: SchemaRef,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    group_bytes: usize,
}

impl ParquetWriter {
    pub(super) fn create(path: &Path, schema: &Schema) -> Result<Self, TableError> {
        let file = NewFile::create(path).map_err(TableError::write(path))?;
        let failed = |error| TableError::format(path, error);
        // Of a schema's metadata what other libraries keep there of rows and indices is true no more.
        let own = Arc::new(Schema::new(schema.fields().clone()));
        let properties = properties(schema).map_err(failed)?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&own), Some(properties));
        Ok(Self {
            writer: writer.map_err(failed)?,
            path: path.to_path_buf(),
            schema: own,
            waiting: Vec::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
            group_bytes: 0,
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let batch = self.own(batch)?;
        let mut begin = 0;
        for row in 0..batch.num_rows() {
            self.waiting_rows += 1;
            self.waiting_bytes += row_size(&batch, row);
            if self.waiting_rows >= TOGETHER || self.waiting_bytes >= TOGETHER_BYTES {
                self.waiting.push(batch.slice(begin, row + 1 - begin));
                begin = row + 1;
                self.encode()?;
            }
        }
        if begin < batch.num_rows() {
            self.waiting
                .push(batch.slice(begin, batch.num_rows() - begin));
        }
        Ok(())
    }

    /// Rows with the file's own schema: what theirs says beside the columns (pandas's index, say) is not
    /// compared.
    fn own(&self, batch: &RecordBatch) -> Result<RecordBatch, TableError> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let (schema, columns) = (Arc::clone(&self.schema), batch.columns().to_vec());
        let own = RecordBatch::try_new_with_options(schema, columns, &options);
        own.map_err(|error| TableError::format(&self.path, error))
    }

    /// Encodes what waits.
    fn encode(&mut self) -> Result<(), TableError> {
        let joined = concat_batches(&self.schema, &self.waiting);
        let joined = joined.map_err(|error| TableError::format(&self.path, error))?;
        let failed = |error: ParquetError| of_writing(&self.path, error);
        self.writer.write(&joined).map_err(failed)?;
        self.group_bytes += self.waiting_bytes;
        self.waiting.clear();
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        if self.group_bytes >= GROUP_BYTES {
            self.writer.flush().map_err(failed)?;
            self.group_bytes = 0;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), TableError> {
        if self.waiting_rows > 0 {
            self.encode()?;
        }
        let file = self.writer.into_inner();
        let file = file.map_err(|error| of_writing(&self.path, error))?;
        file.finish().map_err(TableError::write(&self.path))
    }
}

/// An error of the writer, which the system may have caused.
pub(super) fn of_writing(path: &Path, error: ParquetError) -> TableError {
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(error) => TableError::write(path)(*error),
            Err(cause) => TableError::format(path, cause),
        },
        error => TableError::format(path, error),
    }
}

/// Pictures and vectors are neither compared nor repeated: no statistics, no dictionary.
fn properties(schema: &Schema) -> Result<WriterProperties, ParquetError> {
    let kept = schema.metadata().get(KEPT);
    let kept = kept.and_then(|text| still_true(text, schema));
    let kept = kept.map(|text| vec![KeyValue::new(KEPT.to_string(), text)]);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(kept);
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    for column in columns.columns() {
        let is_text = matches!(column.logical_type_ref(), Some(LogicalType::String));
        let is_bytes = column.physical_type() == Type::BYTE_ARRAY && !is_text;
        let is_vector = column.physical_type() == Type::FLOAT && column.max_rep_level() > 0;
        if is_bytes || is_vector {
            let path = column.path().clone();
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_compression(path, Compression::UNCOMPRESSED);
        }
    }
    Ok(properties.build())
}

/// What the hub's library said of the columns that are there. Of new ones it sees the types itself, and the
/// fingerprint was that of other rows.
fn still_true(text: &str, schema: &Schema) -> Option<String> {
    let mut said: Value = serde_json::from_str(text).ok()?;
    said.as_object_mut()?.shift_remove("fingerprint");
    let features = said.get_mut("info")?.get_mut("features")?.as_object_mut()?;
    features.retain(|name, _| schema.field_with_name(name).is_ok());
    Some(said.to_string())
}
