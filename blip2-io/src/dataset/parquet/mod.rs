//! Tables in Parquet, as the hub has data sets: their files, and the pictures in them.

mod guard;
mod held;
mod schema;
mod table;
mod thrift;
mod value;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use self::table::PictureFault;
pub(super) use self::{
    schema::{Form, TextColumn},
    table::Table,
    value::value,
};
use super::{DatasetError, quote::shortened};

/// A picture in a row of a Parquet file.
#[derive(Debug, Clone)]
pub struct TablePicture {
    table: Arc<Table>,
    group: usize,
    /// Its row in the row group.
    row: usize,
    /// The rows before the row group.
    before: usize,
}

impl TablePicture {
    /// The picture of row `row` of a row group, before which there are `before` rows.
    pub(super) fn new(table: &Arc<Table>, group: usize, row: usize, before: usize) -> Self {
        Self {
            table: Arc::clone(table),
            group,
            row,
            before,
        }
    }

    /// Its table.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The number of its row in the table.
    pub(super) fn number(&self) -> usize {
        self.before + self.row
    }

    /// The file.
    pub fn file(&self) -> &Path {
        self.table.path()
    }

    /// What errors call it: its file, row and column.
    pub(super) fn path(&self) -> PathBuf {
        let row = self.number();
        let column = shortened(&self.table.read.picture.name, 60);
        self.file().join(format!("row {row}")).join(column)
    }

    /// Its row in the row group.
    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// The row group that it is in.
    pub(super) fn group(&self) -> usize {
        self.group
    }

    /// Its bytes, of which there may be `limit`.
    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, DatasetError> {
        let read = self.table.picture(self.group, self.row, limit);
        read.map_err(|fault| match fault {
            PictureFault::File(error) => error,
            PictureFault::Value(reason) => DatasetError::format(&self.path(), reason),
        })
    }
}
