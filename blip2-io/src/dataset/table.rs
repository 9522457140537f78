//! Tables of text: comma-separated values and their like.

use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::{
    Columns, Dataset, DatasetError, OnBroken,
    below::folder_is_there,
    collect::Collector,
    fields::Fields,
    quote::{quoted, shortened},
    read,
    record::{self, Record},
};

/// What stands between columns in files that are found.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The most bytes of a row: a quote that is never closed would make one of the rest of the file.
const MAX_ROW: usize = 1 << 20;

impl Dataset {
    /// Reads a table whose first line names its columns, as for
    /// [`json_records`](Self::json_records); empty cells are as if they were not there, and a cell that is
    /// a list of JSON (`["red", "dark red"]`) is several answers. Columns stand between commas, in a file
    /// `.tsv` between tabs, or between what `delimiter` says.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read or names no columns, and as `on_broken` says for
    /// rows that do not fit.
    ///
    /// ```
    /// use blip2_io::dataset::{Columns, Dataset, OnBroken};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("captions.csv");
    /// std::fs::write(&file, "image,caption\nred-triangle.png,\"a triangle, red\"\n")?;
    /// let pictures = "../examples/images";
    /// let data = Dataset::csv(&file, pictures, &Columns::default(), None, OnBroken::Fail)?;
    /// assert_eq!(data.examples()[0].answers, ["a triangle, red"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn csv(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        columns: &Columns,
        delimiter: Option<u8>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let text = read::text(file)?;
        let is_tsv = file.extension().is_some_and(|ending| ending == "tsv");
        let usual = if is_tsv { b'\t' } else { b',' };
        let delimiter = delimiter.unwrap_or(usual);
        let mut collector = Collector::new(file.to_path_buf());
        let mut header: Option<Vec<String>> = None;
        rows(&text, delimiter, true, |place, row| {
            let Some(names) = &header else {
                let names = names_of(row).and_then(|names| {
                    match other_delimiter(&text, &names, delimiter, columns) {
                        Some(other) => Err(divided(other, delimiter)),
                        None => Ok(names),
                    }
                });
                header = Some(names.map_err(|reason| DatasetError::format(file, reason))?);
                return Ok(());
            };
            let record = row
                .and_then(|cells| fields(names, &cells))
                .and_then(|fields| Record::of(&fields, columns));
            match record {
                Ok(record) => collector.add_record(place, record, pictures),
                Err(reason) => collector.broken(place, reason),
            }
            Ok(())
        })?;
        collector.finish(on_broken)
    }
}

/// What stands between columns, where that is not what they are read by: by it the first line names columns
/// that are known, and `names` has none.
fn other_delimiter(text: &[u8], names: &[String], used: u8, columns: &Columns) -> Option<u8> {
    let is_known = |name: &String| record::is_known(columns, name);
    if names.iter().any(is_known) {
        return None;
    }
    // Empty lines before it are passed over, as by the reader.
    let mut lines = text.split(|&byte| byte == b'\n');
    let first = lines.find(|line| !line.trim_ascii().is_empty())?;
    let mut others = DELIMITERS.into_iter().filter(|&other| other != used);
    others.find(|&other| {
        let mut names = Vec::new();
        let read = rows(first, other, true, |_, row| {
            names.extend(row.unwrap_or_default());
            Ok(())
        });
        read.is_ok() && names.len() > 1 && names.iter().any(is_known)
    })
}

fn divided(by: u8, used: u8) -> String {
    let shown = |byte: u8| char::from(byte).escape_default();
    format!(
        "its first line has `{0}` between the columns, and is read as if it had `{1}`: give `delimiter = \
         \"{0}\"` (`kind = \"csv\"` has it), or save the file with `{1}`",
        shown(by),
        shown(used)
    )
}

/// Hands out the cells of each row, by the number of its first line.
pub(super) fn rows(
    text: &[u8],
    delimiter: u8,
    quoting: bool,
    mut each: impl FnMut(String, Result<Vec<String>, String>) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quoting(quoting)
        .from_reader(text);
    let mut row = ByteRecord::new();
    let mut lines = Lines {
        text,
        at: 0,
        line: 1,
    };
    // Bytes in memory are always read: what may be wrong with a row is told of its cells.
    while reader.read_byte_record(&mut row).unwrap_or(false) {
        let start = row.position().map_or(0, csv::Position::byte);
        let line = lines.of(usize::try_from(start).unwrap_or(usize::MAX));
        each(format!("line {line}"), cells(&row))?;
    }
    Ok(())
}

/// Counts lines as rows are read. The reader's own count is one behind after Windows's line ends, whose
/// second byte it leaves to the next row.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of the row that begins at this byte, or behind the line ends that stand there.
    fn of(&mut self, start: usize) -> usize {
        while let Some(byte) = self.text.get(self.at) {
            if self.at >= start && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += usize::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

fn cells(row: &ByteRecord) -> Result<Vec<String>, String> {
    if row.as_slice().len() > MAX_ROW {
        return Err(format!(
            "it has {} bytes, and a row has no more than {MAX_ROW}: is a quote not closed?",
            row.as_slice().len()
        ));
    }
    let text = |cell: &[u8]| match std::str::from_utf8(cell) {
        Ok(text) => Ok(text.trim().to_string()),
        Err(_) => {
            let shown = shortened(&String::from_utf8_lossy(cell), 40);
            Err(format!(
                "its cell `{shown}` is not UTF-8; save the file as UTF-8"
            ))
        }
    };
    row.iter().map(text).collect()
}

/// The names of columns, each of which there is once.
fn names_of(row: Result<Vec<String>, String>) -> Result<Vec<String>, String> {
    let names = row?;
    for (place, name) in names.iter().enumerate() {
        if !name.is_empty() && names[..place].contains(name) {
            return Err(format!(
                "its first line names the column {} twice",
                quoted(name)
            ));
        }
    }
    Ok(names)
}

fn fields(names: &[String], cells: &[String]) -> Result<Fields, String> {
    if cells.len() != names.len() {
        return Err(format!(
            "it has {} cells, and the first line names {} columns; a cell with a delimiter in it stands \
             between double quotes",
            cells.len(),
            names.len()
        ));
    }
    let value = |cell: &String| {
        let list = cell
            .starts_with('[')
            .then(|| serde_json::from_str(cell).ok());
        match list.flatten() {
            Some(list) => list,
            None if cell.is_empty() => Value::Null,
            None => Value::String(cell.clone()),
        }
    };
    let named = names.iter().zip(cells);
    Ok(named
        .map(|(name, cell)| (name.clone(), value(cell)))
        .collect())
}
