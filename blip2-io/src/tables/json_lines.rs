//! Files with a JSON object a line.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3;

use super::{
    error::TableError,
    json_kinds::{Cell, Found, Kind},
    json_raw::raw_values,
    lines::{Lines, Mark, Marks},
    rows::{Known, Read, Rows, batch_of, shorter},
};

/// The most keys of a file: a key that is a row's own would make a column of each row.
const MOST_KEYS: usize = 4096;

/// A file of JSON lines that was looked through.
#[derive(Debug)]
pub(super) struct JsonLines {
    path: PathBuf,
    columns: Vec<(String, Kind)>,
    marks: Arc<Marks>,
    known: Known,
}

impl JsonLines {
    /// Looks through a file: what its keys hold is known when all lines are.
    pub(super) fn open(path: &Path) -> Result<Self, TableError> {
        let failed = TableError::read(path);
        let begin = Mark { byte: 0, line: 1 };
        let mut lines = Lines::open(path, begin).map_err(&failed)?;
        let mut columns: Vec<(String, Found)> = Vec::new();
        let (mut marks, mut rows, mut hasher) = (Marks::default(), 0, Xxh3::new());
        let mut text = Vec::new();
        while let Some(mark) = lines.next(&mut text).map_err(&failed)? {
            hasher.update(&text);
            marks.add(rows, mark);
            rows += 1;
            for (place, (name, value)) in object(path, mark.line, &text)?.into_iter().enumerate() {
                // Most lines have their keys in one order.
                let is_there = columns.get(place).is_some_and(|(known, _)| *known == name);
                let known = match is_there {
                    true => columns.get_mut(place),
                    false => columns.iter_mut().find(|(known, _)| *known == name),
                };
                let raw = || raw_values(&text).remove(&name);
                match known {
                    Some((_, found)) => found.add(&value, raw),
                    None => {
                        let mut found = Found::default();
                        found.add(&value, raw);
                        columns.push((name, found));
                    }
                }
            }
            if columns.len() > MOST_KEYS {
                let reason = format!("the file has more than {MOST_KEYS} different keys");
                return Err(TableError::row(path, mark.line, reason));
            }
        }
        let columns = columns.into_iter();
        let columns: Vec<(String, Kind)> =
            columns.map(|(name, found)| (name, found.kind())).collect();
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, kind)| kind.field(name))
            .collect();
        Ok(Self {
            path: path.to_path_buf(),
            columns,
            marks: Arc::new(marks),
            known: Known {
                schema: Arc::new(Schema::new(fields)),
                rows,
                fingerprint: hasher.digest(),
            },
        })
    }
}

impl Rows for JsonLines {
    fn known(&self) -> &Known {
        &self.known
    }

    fn read(&self, range: Range<u64>, size: usize, columns: &[usize]) -> Result<Read, TableError> {
        let Some((mark, skipped)) = self.marks.before(range.start) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let chosen = columns.iter().filter_map(|place| self.columns.get(*place));
        let fields: Vec<_> = chosen
            .clone()
            .map(|(name, kind)| kind.field(name))
            .collect();
        let mut reading = Reading {
            lines: Lines::open(&self.path, mark).map_err(TableError::read(&self.path))?,
            path: self.path.clone(),
            columns: chosen.cloned().collect(),
            schema: Arc::new(Schema::new(fields)),
            left: self.known.count_in(&range),
        };
        reading.skip(skipped)?;
        Ok(Box::new(std::iter::from_fn(move || {
            reading.batch(size).transpose()
        })))
    }
}

/// Lines on their way to arrays.
struct Reading {
    lines: Lines,
    path: PathBuf,
    columns: Vec<(String, Kind)>,
    schema: SchemaRef,
    left: u64,
}

impl Reading {
    fn skip(&mut self, rows: u64) -> Result<(), TableError> {
        let mut text = Vec::new();
        for _ in 0..rows {
            self.line(&mut text)?;
        }
        Ok(())
    }

    fn line(&mut self, text: &mut Vec<u8>) -> Result<Mark, TableError> {
        let line = self
            .lines
            .next(text)
            .map_err(TableError::read(&self.path))?;
        line.ok_or_else(|| shorter(&self.path))
    }

    fn batch(&mut self, size: usize) -> Result<Option<RecordBatch>, TableError> {
        let rows = self.left.min(size.max(1) as u64);
        if rows == 0 {
            return Ok(None);
        }
        let is_raw = |kind: &Kind| *kind == Kind::Json;
        let any_raw = self.columns.iter().any(|(_, kind)| is_raw(kind));
        let mut cells = vec![Vec::new(); self.columns.len()];
        let mut text = Vec::new();
        for _ in 0..rows {
            let mark = self.line(&mut text)?;
            let mut object = object(&self.path, mark.line, &text)?;
            let mut raw = match any_raw {
                true => raw_values(&text),
                false => HashMap::new(),
            };
            for ((name, kind), cells) in self.columns.iter().zip(&mut cells) {
                let value = object.get_mut(name).map(Value::take);
                let raw = match is_raw(kind) {
                    true => raw.remove(name),
                    false => None,
                };
                cells.push(value.map(|value| Cell { value, raw }));
            }
        }
        self.left -= rows;
        let arrays = self.columns.iter().zip(&cells);
        let arrays = arrays.map(|((_, kind), cells)| kind.array(cells));
        batch_of(&self.path, &self.schema, arrays, rows as usize).map(Some)
    }
}

fn object(path: &Path, line: u64, text: &[u8]) -> Result<Map<String, Value>, TableError> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(TableError::row(
            path,
            line,
            "there is no JSON object in it ({\"image\": …})",
        )),
        Err(error) => Err(TableError::row(path, line, error.to_string())),
    }
}
