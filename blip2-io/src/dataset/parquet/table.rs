//! A table in a file, and the pictures in it.

use std::{
    fmt,
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_schema::DataType;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
            RowSelector,
        },
    },
    file::metadata::RowGroupMetaData,
};

use super::{
    guard::{check_footer, check_pages},
    held::{self, Held},
    schema::{Form, Read},
};
use crate::{
    dataset::{Columns, DatasetError},
    regular::open_regular,
};

/// The most bytes that what is said in a row group may unpack to.
const MAX_TEXTS: i64 = 2 << 30;

/// How many rows' texts are read at a time.
const ROWS: usize = 1024;

/// How many pictures are read at a time where each is looked at once.
const PICTURES: usize = 64;

/// A Parquet file whose columns are known.
pub(in crate::dataset) struct Table {
    path: PathBuf,
    /// Its number among the data set's files.
    number: usize,
    metadata: ArrowReaderMetadata,
    pub(in crate::dataset) read: Read,
    held: Arc<Held>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("path", &self.path).finish()
    }
}

impl Table {
    /// Opens a file, of which the description of itself is read. One without rows has nothing to be read,
    /// whatever its columns are: pandas writes those of an empty table as columns of nothing.
    pub(in crate::dataset) fn open(
        path: &Path,
        number: usize,
        columns: &Columns,
        held: &Arc<Held>,
    ) -> Result<Option<Self>, DatasetError> {
        let mut file = opened(path)?;
        let format = |reason: String| DatasetError::format(path, reason);
        check_footer(&mut file).map_err(format)?;
        let length = file.metadata().map_or(0, |own| own.len());
        guarded(|| {
            // What Arrow wrote beside it would change how values lie, not what they are.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let metadata = ArrowReaderMetadata::load(&file, options).map_err(damaged)?;
            let rows = metadata.metadata().file_metadata().num_rows();
            let groups = metadata.metadata().row_groups().iter();
            let counted: Option<i64> = groups
                .map(|group| Some(group.num_rows()).filter(|rows| *rows >= 0))
                .sum();
            // Each picture has a byte at least.
            let fits = u64::try_from(rows).is_ok_and(|rows| rows <= length);
            if counted != Some(rows) || !fits {
                return Err(format!("it claims to have {rows} rows in {length} bytes"));
            }
            if rows == 0 {
                return Ok(None);
            }
            let read = Read::of(metadata.schema(), metadata.parquet_schema(), columns)?;
            Ok(Some(Self {
                path: path.to_path_buf(),
                number,
                metadata,
                read,
                held: Arc::clone(held),
            }))
        })
        .map_err(format)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands out the texts of each row group, some rows at a time, with the group's number, the rows
    /// before these in it, and the rows before it in the file.
    pub(in crate::dataset) fn texts(
        &self,
        mut each: impl FnMut(usize, usize, usize, &RecordBatch),
    ) -> Result<(), DatasetError> {
        let mask = self.read.text_mask(self.metadata.parquet_schema());
        let leaves = self.read.text_leaves();
        let mut before = 0;
        for (number, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            // A writer that was handed no rows leaves a row group without pages.
            if group.num_rows() == 0 {
                continue;
            }
            let size: i64 = leaves
                .iter()
                .filter_map(|&leaf| group.columns().get(leaf))
                .map(|column| column.uncompressed_size())
                .fold(0, i64::saturating_add);
            if size > MAX_TEXTS {
                let reason = format!(
                    "row group {number} has {} MB of texts, and {} are the limit: write it with fewer rows \
                     in a row group",
                    size >> 20,
                    MAX_TEXTS >> 20
                );
                return Err(DatasetError::format(&self.path, reason));
            }
            let mut at = 0;
            self.batches(number, &leaves, mask.clone(), ROWS, None, |batch| {
                each(number, at, before, batch);
                at += batch.num_rows();
            })?;
            before += at;
        }
        Ok(())
    }

    /// Whether the pictures' bytes of a row group are all missing, as where names alone are written.
    pub(in crate::dataset) fn lacks_bytes(&self, group: usize) -> bool {
        let Form::Bytes(leaf) = self.read.picture.form else {
            return false;
        };
        let columns = self.metadata.metadata().row_groups().get(group);
        columns
            .and_then(|group| group.columns().get(leaf))
            .is_some_and(|column| {
                let nulls = column.statistics().and_then(|own| own.null_count_opt());
                nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(column.num_values()))
            })
    }

    /// The bytes of the picture in a row of a row group, of which there may be `limit`. Those of the whole
    /// group are read and held, unless they are too many.
    pub(super) fn picture(
        &self,
        group: usize,
        row: usize,
        limit: u64,
    ) -> Result<Vec<u8>, PictureFault> {
        let Form::Bytes(leaf) = self.read.picture.form else {
            return Err(PictureFault::Value("it has no bytes of its own".into()));
        };
        let metadata = self.metadata.metadata();
        let own: Option<&RowGroupMetaData> = metadata.row_groups().get(group);
        let own = own.ok_or_else(|| PictureFault::Value("there is no such row group".into()))?;
        let size = own
            .columns()
            .get(leaf)
            .map_or(0, |own| own.uncompressed_size());
        let size = u64::try_from(size).unwrap_or(0);
        let (pictures, row) = match size > held::MOST {
            true => (self.pictures(group, leaf, 1, Some(row))?, 0),
            false => {
                let rows = usize::try_from(own.num_rows()).unwrap_or(0);
                let read = || self.pictures(group, leaf, rows, None);
                (self.held.group((self.number, group), size, read)?, row)
            }
        };
        let bytes = bytes_of(&pictures, row).map_err(PictureFault::Value)?;
        if bytes.len() as u64 > limit {
            let reason = format!("it has {} bytes, and {limit} are the limit", bytes.len());
            return Err(PictureFault::Value(reason));
        }
        Ok(bytes)
    }

    /// Hands out the bytes of the pictures of a row group, by their rows; few are held at a time.
    pub(in crate::dataset) fn each_picture(
        &self,
        group: usize,
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result<(), DatasetError> {
        let Form::Bytes(leaf) = self.read.picture.form else {
            return Ok(());
        };
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), [leaf]);
        let mut at = 0;
        self.batches(group, &[leaf], mask, PICTURES, None, |batch| {
            for row in 0..batch.num_rows() {
                let picture = batch.columns().first();
                if let Some(Ok(bytes)) = picture.map(|picture| bytes_of(picture, row)) {
                    each(at + row, &bytes);
                }
            }
            at += batch.num_rows();
        })
    }

    /// The column of pictures of a row group, or of one of its rows.
    fn pictures(
        &self,
        group: usize,
        leaf: usize,
        rows: usize,
        only: Option<usize>,
    ) -> Result<ArrayRef, DatasetError> {
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), [leaf]);
        let mut found = None;
        self.batches(group, &[leaf], mask, rows, only, |batch| {
            found = batch.columns().first().cloned().or(found.take());
        })?;
        let reason = || "a row group ends before its rows do, as if it were damaged".to_string();
        found.ok_or_else(|| DatasetError::format(&self.path, reason()))
    }

    /// Hands out the rows of a row group, or one of them, after a look at the pages that are read.
    fn batches(
        &self,
        group: usize,
        leaves: &[usize],
        mask: ProjectionMask,
        rows: usize,
        only: Option<usize>,
        mut each: impl FnMut(&RecordBatch),
    ) -> Result<(), DatasetError> {
        let mut file = opened(&self.path)?;
        guarded(|| {
            self.check(&mut file, group, leaves)?;
            let metadata = self.metadata.clone();
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_row_groups(vec![group])
                .with_projection(mask)
                .with_batch_size(rows.max(1));
            let builder = match only {
                None => builder,
                Some(row) => {
                    let selected = vec![RowSelector::skip(row), RowSelector::select(1)];
                    builder.with_row_selection(RowSelection::from(selected))
                }
            };
            for batch in builder.build().map_err(damaged)? {
                each(&batch.map_err(damaged)?);
            }
            Ok(())
        })
        .map_err(|reason| DatasetError::format(&self.path, format!("row group {group}: {reason}")))
    }

    fn check(&self, file: &mut File, group: usize, leaves: &[usize]) -> Result<(), String> {
        let groups = self.metadata.metadata().row_groups();
        let columns = groups.get(group).map_or(&[][..], |group| group.columns());
        for column in leaves.iter().filter_map(|&leaf| columns.get(leaf)) {
            let first = column.dictionary_page_offset();
            let first = first.unwrap_or(i64::MAX).min(column.data_page_offset());
            let range = u64::try_from(first).ok();
            let range = range.zip(u64::try_from(column.compressed_size()).ok());
            let name = column.column_path().string();
            let (start, length) = range.ok_or_else(|| format!("column `{name}` is damaged"))?;
            check_pages(file, start, length)
                .map_err(|reason| format!("column `{name}`: {reason}"))?;
        }
        Ok(())
    }
}

/// Why there is no picture.
pub(super) enum PictureFault {
    /// The file is at fault.
    File(DatasetError),
    /// The value is: a sentence.
    Value(String),
}

impl From<DatasetError> for PictureFault {
    fn from(error: DatasetError) -> Self {
        Self::File(error)
    }
}

fn opened(path: &Path) -> Result<File, DatasetError> {
    open_regular(path).map_err(|source| DatasetError::unread(path.to_path_buf(), source))
}

/// Calls the library beneath, which panics at some files that are damaged.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let read = catch_unwind(AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err("it is damaged".into()))
}

fn damaged(error: impl fmt::Display) -> String {
    format!("it is damaged, or written in a way that is not read: {error}")
}

/// The bytes in a row: its own, those of the object `{bytes, path}` that the hub writes, or those of the
/// only member of a list.
fn bytes_of(array: &ArrayRef, row: usize) -> Result<Vec<u8>, String> {
    if row >= array.len() || array.is_null(row) {
        return Err("it is empty".into());
    }
    match array.data_type() {
        DataType::Binary => match array.as_binary::<i32>().value(row) {
            [] => Err("it is empty".into()),
            bytes => Ok(bytes.to_vec()),
        },
        DataType::Struct(_) => match array.as_struct().columns().first() {
            Some(bytes) => bytes_of(bytes, row),
            None => Err("it is empty".into()),
        },
        DataType::List(_) => {
            let members = array.as_list::<i32>().value(row);
            match members.len() {
                1 => bytes_of(&members, 0),
                count => Err(format!("it is a list of {count}, and an example is of one")),
            }
        }
        _ => Err("it has no bytes".into()),
    }
}
