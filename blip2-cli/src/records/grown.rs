//! A file of records that grows batch by batch.

use std::{
    collections::HashMap,
    fmt::Display,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use blip2_io::{FileLock, NewFile, open_regular};
use serde_json::Value;

use super::{Record, Schema, cell, key, mend};
use crate::Failure;

/// No record is longer, in bytes: what is, is none of ours.
const LONGEST: u64 = 1 << 24;

/// A file of JSON lines, or a CSV file, to which records are appended. One process has it at a time.
pub(crate) struct Grown {
    path: PathBuf,
    file: File,
    layout: Layout,
    /// The records of each key that the file held when it was opened, and whether each is a failure.
    done: HashMap<Vec<String>, Vec<bool>>,
    /// How many of those that were asked for are failures.
    failed: usize,
    _lock: FileLock,
}

struct Layout {
    schema: Schema,
    is_table: bool,
}

impl Grown {
    /// Opens a file, or begins one. Half a record at its end is cut off; with `retry` what failed is
    /// taken out of it.
    pub(super) fn open(
        path: &Path,
        is_table: bool,
        schema: Schema,
        retry: bool,
    ) -> Result<Self, Failure> {
        let at = |error: io::Error| named(path, error);
        let lock = FileLock::try_now(path).map_err(at)?;
        let lock = lock.ok_or_else(|| named(path, "another process is writing it"))?;
        let layout = Layout { schema, is_table };
        let mut records = Vec::new();
        let mut unended = false;
        // A pipe or a device is refused there: neither can be gone on with.
        if path.exists() {
            let length =
                open_regular(path).and_then(|file| mend::whole(BufReader::new(file), is_table));
            let length = length.map_err(at)?;
            records = layout.read(path, length)?;
            unended = layout.mend(path, length, &mut records)?;
        }
        let is_failure = |record: &Record| !cell(record, "error").is_empty();
        if retry && records.iter().any(is_failure) {
            records.retain(|record| !is_failure(record));
            layout.rewrite(path, &records).map_err(at)?;
            unended = false;
        }
        let mut done: HashMap<_, Vec<bool>> = HashMap::new();
        for record in &records {
            let known_by = key(record, layout.schema.keys);
            done.entry(known_by).or_default().push(is_failure(record));
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(at)?;
        if unended {
            file.write_all(b"\n").map_err(at)?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            layout,
            done,
            failed: 0,
            _lock: lock,
        })
    }

    pub(super) fn take_done(&mut self, known_by: &[&str]) -> bool {
        let known_by: Vec<String> = known_by.iter().map(|value| value.to_string()).collect();
        let found = self.done.get_mut(&known_by).and_then(Vec::pop);
        self.failed += usize::from(found == Some(true));
        found.is_some()
    }

    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// Appends records, all in one go, so that a kill leaves few of them halved.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let is_new = self.file.metadata().is_ok_and(|found| found.len() == 0);
        let written = self.layout.bytes(records, is_new);
        written
            .and_then(|bytes| self.file.write_all(&bytes))
            .map_err(|error| named(&self.path, error))
    }
}

impl Layout {
    /// Records as the file holds them, below a header if it is new.
    fn bytes(&self, records: &[Record], is_new: bool) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if !self.is_table {
            for record in records {
                serde_json::to_writer(&mut bytes, record)?;
                bytes.push(b'\n');
            }
            return Ok(bytes);
        }
        let columns = &self.schema.columns;
        let mut table = csv::Writer::from_writer(&mut bytes);
        if is_new {
            table.write_record(columns)?;
        }
        for record in records {
            table.write_record(columns.iter().map(|column| cell(record, column)))?;
        }
        table.flush()?;
        drop(table);
        Ok(bytes)
    }

    /// The records of a file's first `length` bytes, which are whole.
    fn read(&self, path: &Path, length: u64) -> Result<Vec<Record>, Failure> {
        let file = open_regular(path).map_err(|error| named(path, error))?;
        let whole = BufReader::new(file.take(length));
        match self.is_table {
            true => self.read_table(path, whole),
            false => self.read_lines(path, whole),
        }
    }

    fn read_lines(&self, path: &Path, mut lines: impl BufRead) -> Result<Vec<Record>, Failure> {
        let mut records = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = lines.by_ref().take(LONGEST).read_until(b'\n', &mut line);
            if read.map_err(|error| named(path, error))? == 0 {
                return Ok(records);
            }
            let number = records.len() + 1;
            let record = self.of_line(&line);
            records.push(record.ok_or_else(|| self.foreign(path, number))?);
        }
    }

    /// The record of a line, if it is one of this command's.
    fn of_line(&self, line: &[u8]) -> Option<Record> {
        match serde_json::from_slice(line) {
            Ok(Value::Object(record)) => self.is_own(&record).then_some(record),
            _ => None,
        }
    }

    fn is_own(&self, record: &Record) -> bool {
        let is_known = self
            .schema
            .keys
            .first()
            .is_some_and(|key| record.contains_key(*key));
        is_known && (record.contains_key(self.schema.result) || record.contains_key("error"))
    }

    fn read_table(&self, path: &Path, whole: impl Read) -> Result<Vec<Record>, Failure> {
        let mut table = csv::Reader::from_reader(whole);
        let columns = &self.schema.columns;
        let header = table.headers().map_err(|error| named(path, error))?;
        if !header.is_empty() && !header.iter().eq(columns.iter()) {
            let text = format!(
                "has the columns {}, where this command writes {}; give --output another name",
                header.iter().collect::<Vec<_>>().join(","),
                columns.join(",")
            );
            return Err(named(path, text));
        }
        let mut records = Vec::new();
        for row in table.records() {
            let row = row.map_err(|error| named(path, error))?;
            let cells = columns.iter().zip(row.iter());
            let cells = cells.map(|(column, cell)| (column.clone(), Value::from(cell)));
            records.push(cells.collect());
        }
        Ok(records)
    }

    fn foreign(&self, path: &Path, line: usize) -> Failure {
        let text = format!(
            "line {line} is no record of this command, which has \"{}\" and \"{}\"; give --output \
             another name",
            self.schema.keys.first().unwrap_or(&"image"),
            self.schema.result
        );
        named(path, text)
    }

    /// Takes care of what follows the whole records: half a one is cut off. A line of JSON that is
    /// whole but for its end, as an editor leaves it, is kept; then the line is to be ended.
    fn mend(&self, path: &Path, length: u64, records: &mut Vec<Record>) -> Result<bool, Failure> {
        let at = |error: io::Error| named(path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(at)?;
        if file.metadata().map_err(at)?.len() == length {
            return Ok(false);
        }
        if !self.is_table {
            let mut rest = Vec::new();
            io::Seek::seek(&mut file, io::SeekFrom::Start(length)).map_err(at)?;
            Read::take(&file, LONGEST)
                .read_to_end(&mut rest)
                .map_err(at)?;
            if let Some(record) = self.of_line(&rest) {
                records.push(record);
                return Ok(true);
            }
        }
        if records.is_empty() && length == 0 && !self.may_be_half(&mut file).map_err(at)? {
            return Err(self.foreign(path, 1));
        }
        file.set_len(length).map_err(at)?;
        note!(
            "{}: ended in half a record, which is made again",
            path.display()
        );
        Ok(false)
    }

    /// Whether a file without a whole record may be the beginning of one.
    fn may_be_half(&self, file: &mut File) -> io::Result<bool> {
        io::Seek::seek(file, io::SeekFrom::Start(0))?;
        let mut found = Vec::new();
        Read::take(file, LONGEST).read_to_end(&mut found)?;
        let begins = |begin: &[u8]| begin.starts_with(&found) || found.starts_with(begin);
        match self.is_table {
            true => Ok(self.bytes(&[], true)?.starts_with(&found)),
            false => Ok(self
                .schema
                .keys
                .first()
                .is_some_and(|key| begins(format!("{{\"{key}\":").as_bytes()))),
        }
    }

    /// The file with these records alone.
    fn rewrite(&self, path: &Path, records: &[Record]) -> io::Result<()> {
        let mut file = NewFile::create(path)?;
        file.write_all(&self.bytes(records, true)?)?;
        file.finish()
    }
}

fn named(path: &Path, error: impl Display) -> Failure {
    Failure::Work(format!("{}: {error}", path.display()))
}
