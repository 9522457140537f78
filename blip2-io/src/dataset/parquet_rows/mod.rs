//! The records of tables in Parquet.

mod files;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_schema::DataType;
use serde_json::Value;

use self::files::tables;
use super::{
    Columns, Dataset, DatasetError, OnBroken, PictureFile,
    below::{common, folder_is_there},
    collect::Collector,
    fields::Fields,
    parquet::{Form, Table, TablePicture, TextColumn, value},
    quote::quoted,
    record::Record,
    same,
};

impl Dataset {
    /// Reads tables in Parquet, as the hub has data sets: a row is a record, as for
    /// [`json_records`](Self::json_records), with the picture's bytes in the column `image`, plain or as
    /// `{bytes, path}`, or with the name of its file, which is below `pictures`. A list of one picture is
    /// it. Names of columns may lead into objects (`answers.text`).
    ///
    /// `paths` are files, or folders with files `.parquet` in them and below, of which those of `split`
    /// are read, if it is given, as the hub names them (`train-00000-of-00002.parquet`). Files and row groups without
    /// rows are passed over.
    ///
    /// What is said about pictures is read here, row group by row group, and the pictures that may be one in
    /// several rows, which is one then: those with an `image_id`, or else a `path`, of which there are
    /// several, or with neither. Pictures are read when they are needed, a row group's at once, and no more of them are held than 512 MiB. An order that suits that
    /// is [`Loader::shuffle_buffer`](super::Loader::shuffle_buffer).
    ///
    /// ```no_run
    /// use blip2_io::dataset::{Columns, Dataset, OnBroken};
    ///
    /// let columns = Columns::default().with_answer(Some("multiple_choice_answer".into()));
    /// let folder = ["VQAv2".into()];
    /// let data = Dataset::parquet(&folder, Some("train"), None, &columns, OnBroken::Fail)?;
    /// println!("{} questions about {} pictures", data.len(), data.pictures().len());
    /// # Ok::<(), blip2_io::dataset::DatasetError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read or lacks a column, for a folder of several splits
    /// where none is named, for a split of which there is no file, and as `on_broken` says for rows that do not fit.
    pub fn parquet(
        paths: &[PathBuf],
        split: Option<&str>,
        pictures: Option<&Path>,
        columns: &Columns,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        pictures.map_or(Ok(()), folder_is_there)?;
        let files = tables(paths, split)?;
        let own = match files.as_slice() {
            [one] => one.clone(),
            all => common(all),
        };
        let mut rows = Rows {
            collector: Collector::new(own),
            columns,
            pictures,
            several: files.len() > 1,
        };
        let held = Arc::default();
        for (number, file) in files.iter().enumerate() {
            if let Some(table) = Table::open(file, number, columns, &held)? {
                rows.add_table(Arc::new(table))?;
            }
        }
        rows.collector.unite(contents);
        rows.collector.finish(on_broken)
    }
}

/// Rows in the reading.
struct Rows<'c> {
    collector: Collector,
    columns: &'c Columns,
    pictures: Option<&'c Path>,
    /// Whether places must tell the file.
    several: bool,
}

impl Rows<'_> {
    fn add_table(&mut self, table: Arc<Table>) -> Result<(), DatasetError> {
        let names = table.read.names.iter();
        let empty: Fields = names.map(|name| (name.clone(), Value::Null)).collect();
        table.texts(|group, first, before, batch| {
            let texts = &table.read.texts;
            let found: Vec<(&TextColumn, ArrayRef)> = texts
                .iter()
                .filter_map(|own| Some((own, column(batch, &own.way)?)))
                .collect();
            let picture = batch.column_by_name(&table.read.picture.name);
            for row in 0..batch.num_rows() {
                let mut fields = empty.clone();
                for (own, array) in &found {
                    fields.insert(own.name.clone(), value(array, row));
                }
                let at = TablePicture::new(&table, group, first + row, before);
                let named = picture.map(|array| value(array, row));
                self.add(at, fields, named);
            }
        })
    }

    /// Adds a row; `named` is what is known of its picture but for its bytes.
    fn add(&mut self, at: TablePicture, mut fields: Fields, named: Option<Value>) {
        let place = format!("row {}", at.number());
        let name = named.as_ref().and_then(name_of);
        let file = at.file().to_path_buf();
        match self.read(&at, &mut fields, named) {
            Err(reason) => self.collector.broken_in(file, place, reason),
            Ok((record, is_file)) => {
                let place = match self.several {
                    true => {
                        let name = file.file_name().unwrap_or_default().to_string_lossy();
                        format!("{name}, {place}")
                    }
                    false => place,
                };
                match is_file {
                    true => {
                        let folder = self.pictures.unwrap_or(Path::new(""));
                        self.collector.add_record(place, record, folder);
                    }
                    false => {
                        let id = place.clone();
                        let picture = PictureFile::Row(at);
                        let name = name.as_deref().filter(|name| !name.is_empty());
                        self.collector
                            .add_with_picture(place, id, record, picture, name);
                    }
                }
            }
        }
    }

    /// The record of a row, and whether its picture is a file of its own.
    fn read(
        &self,
        at: &TablePicture,
        fields: &mut Fields,
        named: Option<Value>,
    ) -> Result<(Record, bool), String> {
        let own = &at.table().read.picture;
        let is_file = own.form == Form::Name || at.table().lacks_bytes(at.group());
        let named = match named {
            Some(Value::Array(mut all)) if all.len() == 1 => all.pop(),
            Some(Value::Array(all)) => {
                return Err(format!(
                    "its {} is a list of {}, and an example is of one",
                    quoted(&own.name),
                    all.len()
                ));
            }
            other => other,
        };
        if named.as_ref().is_some_and(Value::is_null) {
            return Err(format!(
                "its {} is empty: it has no picture",
                quoted(&own.name)
            ));
        }
        let columns = self
            .columns
            .clone()
            .with_image(is_file.then(|| own.name.clone()));
        match is_file {
            true if self.pictures.is_none() => {
                return Err(format!(
                    "its {} is the name of a file, and not the picture's bytes: say by `pictures` where \
                     such files are",
                    quoted(&own.name)
                ));
            }
            true => {
                let named = named.unwrap_or(Value::Null);
                fields.insert(own.name.clone(), named);
            }
            // The picture is the row's own, whatever stands under its usual names.
            false => super::record::IMAGE.iter().for_each(|key| {
                fields.remove(*key);
            }),
        }
        Ok((Record::of(fields, &columns)?, is_file))
    }
}

/// The name that stands beside a picture's bytes, or those of the only one of a list.
fn name_of(named: &Value) -> Option<String> {
    let own = match named {
        Value::Array(all) => all.first()?,
        own => own,
    };
    Some(own.get("path")?.as_str()?.to_string())
}

/// Hashes of pictures in tables, each row group of which is read once. What cannot be read is told where it
/// is needed.
fn contents(pictures: &[&PictureFile]) -> Vec<Option<u128>> {
    let mut hashes = vec![None; pictures.len()];
    let mut groups: BTreeMap<(PathBuf, usize), Vec<(usize, &TablePicture)>> = BTreeMap::new();
    for (number, picture) in pictures.iter().enumerate() {
        if let PictureFile::Row(own) = picture {
            let group = (own.file().to_path_buf(), own.group());
            groups.entry(group).or_default().push((number, own));
        }
    }
    for ((_, group), rows) in groups {
        let Some((_, first)) = rows.first() else {
            continue;
        };
        let mut numbers: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, own) in &rows {
            numbers.entry(own.row()).or_default().push(*number);
        }
        // Those that were read before a fault are known all the same.
        let _ = first.table().each_picture(group, |row, bytes| {
            let Some(numbers) = numbers.get(&row) else {
                return;
            };
            let hash = same::hash(bytes);
            for &number in numbers {
                hashes[number] = Some(hash);
            }
        });
    }
    hashes
}

/// A column, or one in an object.
fn column(batch: &RecordBatch, way: &[String]) -> Option<ArrayRef> {
    let (first, rest) = way.split_first()?;
    let mut found = Arc::clone(batch.column_by_name(first)?);
    for name in rest {
        let DataType::Struct(_) = found.data_type() else {
            return None;
        };
        found = Arc::clone(found.as_struct().column_by_name(name)?);
    }
    Some(found)
}
