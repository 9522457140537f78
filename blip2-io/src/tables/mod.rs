//! Tables of pictures: rows in, rows out, in batches, whatever the table's size.
//!
//! A [`Table`] is a Parquet file or a folder of them, a file of JSON lines, a CSV file, or a list of
//! pictures. It is read in batches of Arrow arrays, from any row on, so that a long work goes on where
//! it was; never is more of it in memory than a few batches. [`PictureColumn`] and [`TextColumn`] read
//! the columns that a model looks at in every form in which people have them. [`TableWriter`] writes
//! Parquet or JSON lines: the same rows give the same bytes, however they came.
//!
//! | input | columns |
//! |---|---|
//! | Parquet | as they are; dictionaries as what they stand for |
//! | JSON lines | the keys, in the order in which they first come: texts, numbers, truth values, and all else, or what is of several kinds, as JSON text (which [`texts_of`] makes texts) |
//! | CSV | texts; an empty cell is null |
//! | pictures | `image`, their paths |
//!
//! ```
//! use blip2_io::tables::{PictureColumn, Table, TextColumn};
//!
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("photos.csv");
//! std::fs::write(&file, "image,question\nbeach.jpg,how many dogs?\ncity.jpg,\n")?;
//! let table = Table::open(&file)?;
//! assert_eq!(table.rows(), 2);
//! for batch in table.batches(0..table.rows(), 16)? {
//!     let batch = batch?;
//!     let pictures = PictureColumn::of(batch.column(0)).expect("paths");
//!     let questions = TextColumn::of(batch.column(1)).expect("texts");
//!     assert!(pictures.cell(0).is_some());
//!     assert_eq!((questions.get(0), questions.get(1)), (Some("how many dogs?"), None));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batches;
mod csv_file;
mod error;
mod join;
mod json_cells;
mod json_kinds;
mod json_lines;
mod json_raw;
mod json_texts;
mod json_times;
mod lines;
mod parquet_files;
mod parquet_print;
mod parquet_writer;
mod picture_column;
mod picture_list;
mod plain_types;
mod quotes;
mod row_size;
mod rows;
mod table;
mod text_column;
mod vectors;
mod writer;

pub use arrow_array;
pub use arrow_schema;
pub use batches::Batches;
pub use error::TableError;
pub use join::{join, split};
pub use json_texts::texts_of;
pub use picture_column::{PictureCell, PictureColumn};
pub use table::Table;
pub use text_column::{TextColumn, TextLists};
pub use vectors::{vector_column, vector_type};
pub use writer::{TableFormat, TableWriter};
