//! Tables of text between commas, tabs or another sign.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{RecordBatch, builder::StringBuilder};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use csv::{ByteRecord, Reader, ReaderBuilder};
use xxhash_rust::xxh3::Xxh3;

use super::{
    error::TableError,
    lines::{LONGEST, Mark, Marks, open_at},
    quotes::Quotes,
    rows::{Known, Read, Rows, batch_of, shorter},
};

/// What a first column without a name is called.
const INDEX: &str = "index";

/// A CSV file that was looked through.
#[derive(Debug)]
pub(super) struct CsvFile {
    path: PathBuf,
    delimiter: u8,
    names: Vec<String>,
    marks: Marks,
    known: Known,
}

impl CsvFile {
    /// Looks through a file, whose first line names its columns; where none is `given`, the delimiter is a comma, and what
    /// looks like another one is refused.
    pub(super) fn open(path: &Path, given: Option<u8>) -> Result<Self, TableError> {
        let delimiter = given.unwrap_or(b',');
        let mut rows = Reading::open(path, delimiter, Mark { byte: 0, line: 1 })?;
        let Some((names, _)) = rows.next()? else {
            return Err(TableError::format(path, "the file is empty"));
        };
        let names = names_of(path, &names)?;
        check_delimiter(path, given, &names)?;
        rows.width = Some(names.len());
        let (mut marks, mut count, mut hasher) = (Marks::default(), 0, Xxh3::new());
        names.iter().for_each(|name| hasher.update(name.as_bytes()));
        while let Some((row, mark)) = rows.next()? {
            for cell in &row {
                hasher.update(&(cell.len() as u64).to_le_bytes());
                hasher.update(cell);
            }
            marks.add(count, mark);
            count += 1;
        }
        Ok(Self {
            path: path.to_path_buf(),
            delimiter,
            known: Known {
                schema: schema(names.iter()),
                rows: count,
                fingerprint: hasher.digest(),
            },
            names,
            marks,
        })
    }
}

impl Rows for CsvFile {
    fn known(&self) -> &Known {
        &self.known
    }

    fn read(&self, range: Range<u64>, size: usize, columns: &[usize]) -> Result<Read, TableError> {
        let Some((mark, skipped)) = self.marks.before(range.start) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let mut rows = Reading::open(&self.path, self.delimiter, mark)?;
        rows.width = Some(self.names.len());
        for _ in 0..skipped {
            rows.next()?;
        }
        let schema = schema(columns.iter().filter_map(|place| self.names.get(*place)));
        let columns = columns.to_vec();
        let mut left = self.known.count_in(&range);
        Ok(Box::new(std::iter::from_fn(move || {
            let count = left.min(size.max(1) as u64);
            left -= count;
            (count > 0).then(|| rows.batch(count, &columns, &schema))
        })))
    }
}

/// Rows on their way to arrays.
struct Reading {
    path: PathBuf,
    reader: Reader<Limited>,
    /// Where the reader began.
    begin: Mark,
    /// The cells of each row, once that is known.
    width: Option<usize>,
}

impl Reading {
    fn open(path: &Path, delimiter: u8, at: Mark) -> Result<Self, TableError> {
        let (file, byte) = open_at(path, at.byte).map_err(TableError::read(path))?;
        let limited = Limited {
            file,
            left: LONGEST,
            quotes: Quotes::new(delimiter, at.line),
        };
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(limited);
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            begin: Mark { byte, ..at },
            width: None,
        })
    }

    fn next(&mut self) -> Result<Option<(ByteRecord, Mark)>, TableError> {
        self.reader.get_mut().left = LONGEST;
        let mut row = ByteRecord::new();
        let read = self.reader.read_byte_record(&mut row);
        let is_there = read.map_err(|error| TableError::format(&self.path, error))?;
        if let Some(line) = self.reader.get_ref().quotes.fault() {
            let reason = "a quote begins in it that is not closed; close it, or write a quote that is part \
                          of a text twice, within quotes";
            return Err(TableError::row(&self.path, line, reason));
        }
        if !is_there {
            return Ok(None);
        }
        let (byte, line) = row.position().map_or((0, 1), |at| (at.byte(), at.line()));
        let mark = Mark {
            byte: self.begin.byte + byte,
            line: self.begin.line + line - 1,
        };
        match self.width {
            Some(width) if width != row.len() => Err(TableError::row(
                &self.path,
                mark.line,
                format!(
                    "it has {} cells, and the first line names {width} columns; a cell with a \
                     delimiter in it stands between double quotes",
                    row.len()
                ),
            )),
            _ => Ok(Some((row, mark))),
        }
    }

    fn batch(
        &mut self,
        rows: u64,
        columns: &[usize],
        schema: &SchemaRef,
    ) -> Result<RecordBatch, TableError> {
        let mut builders: Vec<_> = columns.iter().map(|_| StringBuilder::new()).collect();
        for _ in 0..rows {
            let Some((row, mark)) = self.next()? else {
                return Err(shorter(&self.path));
            };
            for (place, builder) in columns.iter().zip(&mut builders) {
                let cell = row.get(*place).unwrap_or_default();
                builder.append_option(text(&self.path, mark.line, cell)?);
            }
        }
        let arrays = builders
            .iter_mut()
            .map(|builder| Arc::new(builder.finish()) as _);
        batch_of(&self.path, schema, arrays, rows as usize)
    }
}

/// A cell's text, if it is not empty.
fn text<'c>(path: &Path, line: u64, cell: &'c [u8]) -> Result<Option<&'c str>, TableError> {
    match std::str::from_utf8(cell) {
        Ok(text) => Ok((!text.is_empty()).then_some(text)),
        Err(_) => Err(TableError::row(
            path,
            line,
            "a cell is not UTF-8; save the file as UTF-8",
        )),
    }
}

/// The columns' names. The first may have none: pandas writes its index so.
fn names_of(path: &Path, row: &ByteRecord) -> Result<Vec<String>, TableError> {
    let mut names = Vec::new();
    for cell in row {
        let mut name = text(path, 1, cell)?.unwrap_or_default().trim().to_string();
        if name.is_empty() && names.is_empty() && row.len() > 1 {
            name = INDEX.into();
        }
        if name.is_empty() || names.contains(&name) {
            let reason = match name.is_empty() {
                true => format!(
                    "it names the columns, and number {} has no name; give it one",
                    names.len() + 1
                ),
                false => format!("it names the column `{name}` twice; give one another name"),
            };
            return Err(TableError::row(path, 1, reason));
        }
        names.push(name);
    }
    Ok(names)
}

/// Refuses a table of one column whose name looks like several.
fn check_delimiter(path: &Path, delimiter: Option<u8>, names: &[String]) -> Result<(), TableError> {
    let ([name], None) = (names, delimiter) else {
        return Ok(());
    };
    let others = [(';', "';'"), ('\t', "tab"), ('|', "'|'")];
    match others.into_iter().find(|(sign, _)| name.contains(*sign)) {
        None => Ok(()),
        Some((_, given)) => Err(TableError::row(
            path,
            1,
            format!(
                "there is no comma in it, and the columns seem to stand between other signs; give \
                 --delimiter {given} (or --delimiter ',' if it is one column)"
            ),
        )),
    }
}

fn schema<'n>(names: impl Iterator<Item = &'n String>) -> SchemaRef {
    let fields = names.map(|name| Field::new(name, DataType::Utf8, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A file of which only so many bytes are read for one row: a quote that is never closed would make one
/// of the rest of the file.
struct Limited {
    file: io::BufReader<std::fs::File>,
    left: u64,
    quotes: Quotes,
}

impl io::Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read == 0 {
            self.quotes.end();
        }
        self.quotes.pass(buffer.get(..read).unwrap_or_default());
        match self.left.checked_sub(read as u64) {
            Some(rest) => self.left = rest,
            None => {
                let mut reason =
                    format!("a row has more than {LONGEST} bytes: is a quote not closed?");
                if let Some(line) = self.quotes.open() {
                    reason.push_str(&format!(" One begins in line {line}"));
                }
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
        Ok(read)
    }
}
