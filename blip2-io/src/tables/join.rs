//! Tables of the same columns as one, and one as several.

use std::{
    fs::File,
    io::{self, BufWriter, IntoInnerError, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

use parquet::{
    column::writer::ColumnCloseResult,
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        properties::WriterProperties,
        writer::SerializedFileWriter,
    },
};

use super::{
    error::TableError,
    lines::{Lines, Mark},
    parquet_writer::of_writing,
    rows::shorter,
    writer::TableFormat,
};
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
    let mut writer = writer_like(&metadata_of(first)?, file).map_err(failed)?;
    for part in parts {
        let metadata = metadata_of(part)?;
        let source = open_regular(part).map_err(TableError::read(part))?;
        for group in metadata.row_groups() {
            copy(&mut writer, &source, group).map_err(failed)?;
        }
    }
    let file = writer.into_inner().map_err(failed)?;
    file.finish().map_err(TableError::write(path))
}

/// A file of the same columns as another.
fn writer_like(
    metadata: &ParquetMetaData,
    file: NewFile,
) -> Result<SerializedFileWriter<NewFile>, ParquetError> {
    let of_file = metadata.file_metadata();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(of_file.key_value_metadata().cloned())
        .build();
    let schema = of_file.schema_descr().root_schema_ptr();
    SerializedFileWriter::new(file, schema, properties.into())
}

/// Copies a row group of a file.
fn copy(
    writer: &mut SerializedFileWriter<NewFile>,
    source: &File,
    group: &RowGroupMetaData,
) -> Result<(), ParquetError> {
    let mut out = writer.next_row_group()?;
    for column in group.columns() {
        let copied = ColumnCloseResult {
            bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
            rows_written: u64::try_from(group.num_rows()).unwrap_or(0),
            metadata: column.clone(),
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        out.append_column(source, copied)?;
    }
    out.close().map(drop)
}

/// Writes ranges of rows of a table that was [joined](join), in their order, into files of their own, each of which
/// is one of the tables that it was joined of: of Parquet row groups are copied, of JSON lines lines.
///
/// # Errors
///
/// [`TableError`] naming the file at fault; [`TableError::Format`] where a row group is not within a range.
pub fn split(
    table: impl AsRef<Path>,
    parts: &[(Range<u64>, PathBuf)],
    format: TableFormat,
) -> Result<(), TableError> {
    match format {
        TableFormat::JsonLines => split_lines(table.as_ref(), parts),
        TableFormat::Parquet => split_parquet(table.as_ref(), parts),
    }
}

fn split_lines(table: &Path, parts: &[(Range<u64>, PathBuf)]) -> Result<(), TableError> {
    let failed = TableError::read(table);
    let mut lines = Lines::open(table, Mark { byte: 0, line: 1 }).map_err(&failed)?;
    let (mut text, mut row) = (Vec::new(), 0);
    for (rows, part) in parts {
        let file = NewFile::create(part).map_err(TableError::write(part))?;
        let mut file = BufWriter::new(file);
        while row < rows.end {
            let line = lines.next(&mut text).map_err(&failed)?;
            line.ok_or_else(|| shorter(table))?;
            if row >= rows.start {
                file.write_all(&text).map_err(TableError::write(part))?;
            }
            row += 1;
        }
        let file = file.into_inner().map_err(IntoInnerError::into_error);
        let finished = file.and_then(NewFile::finish);
        finished.map_err(TableError::write(part))?;
    }
    Ok(())
}

fn split_parquet(table: &Path, parts: &[(Range<u64>, PathBuf)]) -> Result<(), TableError> {
    let metadata = metadata_of(table)?;
    let source = open_regular(table).map_err(TableError::read(table))?;
    for (rows, part) in parts {
        let failed = |error: ParquetError| of_writing(part, error);
        let file = NewFile::create(part).map_err(TableError::write(part))?;
        let mut writer = writer_like(&metadata, file).map_err(failed)?;
        let (mut first, mut copied) = (0, 0);
        for group in metadata.row_groups() {
            let end = first + u64::try_from(group.num_rows()).unwrap_or(0);
            if first >= rows.start && end <= rows.end {
                copy(&mut writer, &source, group).map_err(failed)?;
                copied += end - first;
            }
            first = end;
        }
        if copied != rows.end.saturating_sub(rows.start) {
            let reason = "its row groups are not those of the tables that it was joined of";
            return Err(TableError::format(table, reason));
        }
        let file = writer.into_inner().map_err(failed)?;
        file.finish().map_err(TableError::write(part))?;
    }
    Ok(())
}

fn metadata_of(path: &Path) -> Result<ParquetMetaData, TableError> {
    let file = open_regular(path).map_err(TableError::read(path))?;
    let read = ParquetMetaDataReader::new().parse_and_finish(&file);
    read.map_err(|error| TableError::format(path, error))
}
