//! Tables of text: comma-separated values and their like.

use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::{
    Columns, Dataset, DatasetError, OnBroken,
    collect::Collector,
    fields::Fields,
    quote::{quoted, shortened},
    read,
    record::Record,
};

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
        let text = read::text(file)?;
        let is_tsv = file.extension().is_some_and(|ending| ending == "tsv");
        let usual = if is_tsv { b'\t' } else { b',' };
        let mut collector = Collector::new(file.to_path_buf());
        let mut header: Option<Vec<String>> = None;
        rows(&text, delimiter.unwrap_or(usual), true, |place, row| {
            let Some(names) = &header else {
                header = Some(names_of(row).map_err(|reason| DatasetError::format(file, reason))?);
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
