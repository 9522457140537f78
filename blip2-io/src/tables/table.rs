//! A table of any kind.

use std::{
    fmt, fs,
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_schema::{Field, Schema, SchemaRef};

use super::{
    batches::Batches, csv_file::CsvFile, error::TableError, json_lines::JsonLines,
    parquet_files::ParquetFiles, picture_list::PictureList, rows::Rows,
};
use crate::regular::open_regular;

/// What a Parquet file begins with.
const PARQUET: &[u8] = b"PAR1";

/// A table that can be read in batches.
pub struct Table {
    path: PathBuf,
    rows: Box<dyn Rows + Send + Sync>,
}

impl Table {
    /// Opens a Parquet file, a folder of Parquet files (one after another by their names, those that
    /// begin with `_` or `.` left out), a file of JSON lines, or a CSV file.
    ///
    /// Files of text are looked through once: what their columns hold is known when all rows are.
    ///
    /// # Errors
    ///
    /// [`TableError::NoTable`] for anything else, [`TableError::Row`] naming the first line that is
    /// none, [`TableError::Column`] where the files of a folder differ.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TableError> {
        let path = path.as_ref();
        let rows: Box<dyn Rows + Send + Sync> = if path.is_dir() {
            let files = parquet_in(path).map_err(TableError::read(path))?;
            if files.is_empty() {
                return Err(no_table(path));
            }
            Box::new(ParquetFiles::open(&files)?)
        } else {
            match ending(path).as_str() {
                "jsonl" | "ndjson" => Box::new(JsonLines::open(path)?),
                "csv" => Box::new(CsvFile::open(path, None)?),
                "tsv" => Box::new(CsvFile::open(path, Some(b'\t'))?),
                "parquet" | "pq" => Box::new(ParquetFiles::open(&[path.to_path_buf()])?),
                _ if begins_as_parquet(path)? => {
                    Box::new(ParquetFiles::open(&[path.to_path_buf()])?)
                }
                _ => return Err(no_table(path)),
            }
        };
        let path = path.to_path_buf();
        Ok(Self { path, rows })
    }

    /// Opens a file whose first line names its columns, with this sign between its cells, whatever its name
    /// ends in.
    ///
    /// ```
    /// use blip2_io::tables::Table;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("a.csv");
    /// std::fs::write(&file, "image;question\nbeach.jpg;how many dogs, and where?\n")?;
    /// assert_eq!(Table::open_delimited(&file, b';')?.schema().fields().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_delimited(path: impl AsRef<Path>, delimiter: u8) -> Result<Self, TableError> {
        let path = path.as_ref();
        Ok(Self {
            path: path.to_path_buf(),
            rows: Box::new(CsvFile::open(path, Some(delimiter))?),
        })
    }

    /// Pictures as a table with the one column `image`, which has the path that `name` gives each; `path` is
    /// what errors call the table. A name that is no UTF-8 is shown as far as it can be, which names no file.
    pub fn of_pictures(
        path: impl AsRef<Path>,
        pictures: &[PathBuf],
        name: impl Fn(&Path) -> PathBuf,
    ) -> Self {
        Self {
            path: path.as_ref().to_path_buf(),
            rows: Box::new(PictureList::new(pictures, name)),
        }
    }

    /// The Parquet files of a folder that is a table: those that do not begin with `_` or `.`, by their
    /// names; none of what is no folder.
    pub fn files_in(path: impl AsRef<Path>) -> Vec<PathBuf> {
        parquet_in(path.as_ref()).unwrap_or_default()
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.rows.known().schema)
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.rows.known().rows
    }

    /// A hash of what is in the table; of Parquet files that of their metadata and of what their columns hold,
    /// of large ones in samples; of pictures that of their paths and sizes and when they were written. Another
    /// one says that the table has changed. What paths in a table lead to is not looked at.
    pub fn fingerprint(&self) -> u64 {
        self.rows.known().fingerprint
    }

    /// The column of this name.
    ///
    /// # Errors
    ///
    /// [`TableError::Column`] with the names that there are.
    pub fn field(&self, name: &str) -> Result<Field, TableError> {
        let schema = self.schema();
        match schema.field_with_name(name) {
            Ok(field) => Ok(field.clone()),
            Err(_) => Err(self.column(name, missing(&schema))),
        }
    }

    /// An error about one of the columns.
    pub fn column(&self, name: &str, reason: impl Into<String>) -> TableError {
        TableError::Column {
            path: self.path.clone(),
            column: name.to_string(),
            reason: reason.into(),
        }
    }

    /// The rows of a range, in batches of `size`.
    ///
    /// # Errors
    ///
    /// If a file cannot be read any more; each batch may fail likewise.
    pub fn batches(&self, rows: Range<u64>, size: usize) -> Result<Batches, TableError> {
        let all: Vec<usize> = (0..self.schema().fields().len()).collect();
        let read = self.rows.read(rows, size, &all)?;
        Ok(Batches::new(self.path.clone(), read, size))
    }

    /// [`batches`](Self::batches) with some columns alone, in the table's order; of Parquet, no others
    /// are read.
    ///
    /// # Errors
    ///
    /// As [`batches`](Self::batches), and [`TableError::Column`] for a name that there is not.
    pub fn batches_of(
        &self,
        columns: &[&str],
        rows: Range<u64>,
        size: usize,
    ) -> Result<Batches, TableError> {
        let schema = self.schema();
        let mut places = Vec::new();
        for name in columns {
            let place = schema.index_of(name);
            places.push(place.map_err(|_| self.column(name, missing(&schema)))?);
        }
        places.sort_unstable();
        places.dedup();
        let read = self.rows.read(rows, size, &places)?;
        Ok(Batches::new(self.path.clone(), read, size))
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("path", &self.path)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

fn missing(schema: &Schema) -> String {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    format!("is not there; the columns are {}", names.join(", "))
}

fn no_table(path: &Path) -> TableError {
    TableError::NoTable {
        path: path.to_path_buf(),
    }
}

fn ending(path: &Path) -> String {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.unwrap_or_default().to_ascii_lowercase()
}

fn begins_as_parquet(path: &Path) -> Result<bool, TableError> {
    let failed = TableError::read(path);
    let mut head = Vec::new();
    let file = open_regular(path).map_err(&failed)?;
    file.take(PARQUET.len() as u64)
        .read_to_end(&mut head)
        .map_err(&failed)?;
    Ok(head == PARQUET)
}

/// The Parquet files of a folder, by their names.
fn parquet_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_file() && ending(&path) == "parquet" && !name.starts_with(['_', '.']) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
