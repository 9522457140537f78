//! Files of lines, read from any of some marked places on.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use crate::{
    regular::open_regular,
    unicode::{UTF_16, is_utf16},
};

/// The most bytes of a row.
pub(super) const LONGEST: u64 = 16 << 20;
/// A place is marked every so many rows.
const EVERY: u64 = 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where a row begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) byte: u64,
    pub(super) line: u64,
}

/// Where some of a file's rows begin.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<Mark>);

impl Marks {
    /// Takes note of where a row begins.
    pub(super) fn add(&mut self, row: u64, mark: Mark) {
        if row.is_multiple_of(EVERY) {
            self.0.push(mark);
        }
    }

    /// The last mark that is not behind a row, and how many rows lie between.
    pub(super) fn before(&self, row: u64) -> Option<(Mark, u64)> {
        let last = self.0.len().checked_sub(1)?;
        let place = usize::try_from(row / EVERY).unwrap_or(last).min(last);
        let mark = *self.0.get(place)?;
        Some((mark, row.saturating_sub(place as u64 * EVERY)))
    }
}

/// Opens a file at a byte, behind the mark with which some programs begin a text.
pub(super) fn open_at(path: &Path, byte: u64) -> io::Result<(BufReader<File>, u64)> {
    let mut file = BufReader::with_capacity(1 << 16, open_regular(path)?);
    if byte > 0 {
        file.seek(SeekFrom::Start(byte))?;
        return Ok((file, byte));
    }
    let start = file.fill_buf()?;
    if is_utf16(start) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, UTF_16));
    }
    let begins = start.starts_with(BYTE_ORDER_MARK);
    let skipped = if begins { BYTE_ORDER_MARK.len() } else { 0 };
    file.consume(skipped);
    Ok((file, skipped as u64))
}

/// The lines of a file that hold more than white space.
pub(super) struct Lines {
    file: BufReader<File>,
    next: Mark,
}

impl Lines {
    pub(super) fn open(path: &Path, at: Mark) -> io::Result<Self> {
        let (file, byte) = open_at(path, at.byte)?;
        let next = Mark { byte, ..at };
        Ok(Self { file, next })
    }

    /// The next line into `text`, and where it begins; `None` at the end.
    pub(super) fn next(&mut self, text: &mut Vec<u8>) -> io::Result<Option<Mark>> {
        loop {
            text.clear();
            let read = self
                .file
                .by_ref()
                .take(LONGEST + 1)
                .read_until(b'\n', text)?;
            if read == 0 {
                return Ok(None);
            }
            let at = self.next;
            if read as u64 > LONGEST {
                let reason = format!("line {} has more than {LONGEST} bytes", at.line);
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            self.next.byte += read as u64;
            self.next.line += 1;
            if !text.trim_ascii().is_empty() {
                return Ok(Some(at));
            }
        }
    }
}
