//! Tables in the making.

use std::{
    fmt,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};

use super::{error::TableError, json_cells, parquet_writer::ParquetWriter};
use crate::new_file::NewFile;

/// A form in which tables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Parquet.
    Parquet,
    /// A JSON object a line. Bytes are left out.
    JsonLines,
}

impl TableFormat {
    /// What a file of this form ends in, without a dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::JsonLines => "jsonl",
        }
    }

    /// Whether a column can be written. Of a struct, what can be is.
    pub fn holds(self, field: &Field) -> bool {
        match self {
            Self::Parquet => true,
            Self::JsonLines => json_cells::fits(field.data_type()),
        }
    }
}

/// A table that takes its name when it is whole. The same rows give the same bytes, whatever the batches
/// in which they come.
pub struct TableWriter(Form);

enum Form {
    Parquet(Box<ParquetWriter>),
    JsonLines {
        path: PathBuf,
        file: BufWriter<NewFile>,
    },
}

impl TableWriter {
    /// Begins a table of these columns.
    ///
    /// # Errors
    ///
    /// [`TableError::Write`] if the system does not take it.
    pub fn create(
        path: impl AsRef<Path>,
        format: TableFormat,
        schema: &Schema,
    ) -> Result<Self, TableError> {
        let path = path.as_ref();
        Ok(Self(match format {
            TableFormat::Parquet => Form::Parquet(Box::new(ParquetWriter::create(path, schema)?)),
            TableFormat::JsonLines => Form::JsonLines {
                path: path.to_path_buf(),
                file: BufWriter::new(NewFile::create(path).map_err(TableError::write(path))?),
            },
        }))
    }

    /// Writes rows.
    ///
    /// # Errors
    ///
    /// [`TableError::Write`], and [`TableError::Format`] for rows of other columns.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        match &mut self.0 {
            Form::Parquet(writer) => writer.write(batch),
            Form::JsonLines { path, file } => {
                let schema = batch.schema();
                for row in 0..batch.num_rows() {
                    let fields = schema.fields().iter().map(AsRef::as_ref);
                    let columns = fields.zip(batch.columns().iter().map(AsRef::as_ref));
                    json_cells::object(file, columns, row)
                        .and_then(|()| file.write_all(b"\n"))
                        .map_err(TableError::write(path))?;
                }
                Ok(())
            }
        }
    }

    /// Gives the table its name.
    ///
    /// # Errors
    ///
    /// [`TableError::Write`]; there is no table then.
    pub fn finish(self) -> Result<(), TableError> {
        match self.0 {
            Form::Parquet(writer) => writer.finish(),
            Form::JsonLines { path, file } => {
                let failed = TableError::write(&path);
                let file = file
                    .into_inner()
                    .map_err(|error| failed(error.into_error()))?;
                file.finish().map_err(&failed)
            }
        }
    }
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter").finish_non_exhaustive()
    }
}
