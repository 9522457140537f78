//! Tables of the same columns as one.

use std::{
    io,
    path::{Path, PathBuf},
};

use parquet::{
    column::writer::ColumnCloseResult,
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        properties::WriterProperties,
        writer::SerializedFileWriter,
    },
};

use super::{error::TableError, parquet_writer::of_writing, writer::TableFormat};
use crate::{new_file::NewFile, regular::open_regular};

/// Writes tables of the same columns, one after another, into one file. Nothing is decoded: of Parquet
/// row groups are copied, of JSON lines bytes.
///
/// # Errors
///
/// [`TableError`] naming the file at fault; there is no new one then.
pub fn join(
    parts: &[PathBuf],
    path: impl AsRef<Path>,
    format: TableFormat,
) -> Result<(), TableError> {
    let path = path.as_ref();
    let mut file = NewFile::create(path).map_err(TableError::write(path))?;
    match format {
        TableFormat::JsonLines => {
            for part in parts {
                let mut part = open_regular(part).map_err(TableError::read(part))?;
                io::copy(&mut part, &mut file).map_err(TableError::write(path))?;
            }
            file.finish().map_err(TableError::write(path))
        }
        TableFormat::Parquet => join_parquet(parts, path, file),
    }
}

fn join_parquet(parts: &[PathBuf], path: &Path, file: NewFile) -> Result<(), TableError> {
    let failed = |error: ParquetError| of_writing(path, error);
    let Some((first, _)) = parts.split_first() else {
        return Err(TableError::format(path, "there is nothing to join"));
    };
    let metadata = metadata_of(first)?;
    let of_file = metadata.file_metadata();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(of_file.key_value_metadata().cloned())
        .build();
    let schema = of_file.schema_descr().root_schema_ptr();
    let writer = SerializedFileWriter::new(file, schema, properties.into());
    let mut writer = writer.map_err(failed)?;
    for part in parts {
        let metadata = metadata_of(part)?;
        let source = open_regular(part).map_err(TableError::read(part))?;
        for group in metadata.row_groups() {
            let mut out = writer.next_row_group().map_err(failed)?;
            for column in group.columns() {
                let copied = ColumnCloseResult {
                    bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
                    rows_written: u64::try_from(group.num_rows()).unwrap_or(0),
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: None,
                    offset_index: None,
                };
                out.append_column(&source, copied).map_err(failed)?;
            }
            out.close().map_err(failed)?;
        }
    }
    let file = writer.into_inner().map_err(failed)?;
    file.finish().map_err(TableError::write(path))
}

fn metadata_of(path: &Path) -> Result<ParquetMetaData, TableError> {
    let file = open_regular(path).map_err(TableError::read(path))?;
    let read = ParquetMetaDataReader::new().parse_and_finish(&file);
    read.map_err(|error| TableError::format(path, error))
}
