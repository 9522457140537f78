//! What of a Parquet file is looked at before the library reads it: that nothing in it claims more
//! memory than is due.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use super::thrift::{Fault, Seen, skip_struct};

/// The most bytes of a file's description of itself.
const MAX_FOOTER: u64 = 256 << 20;

/// How deep columns may stand in one another.
const DEEPEST: usize = 32;

/// The most bytes that a page may have, packed or not. Arrow's writer looks at a page's size after 1,024
/// values, so that a page of large pictures is large.
const MAX_PAGE: i64 = 1 << 30;

/// The most bytes of a page's header, which may hold the smallest and the largest value.
const MAX_HEADER: usize = 16 << 20;

/// As many bytes as most headers have at most.
const USUAL_HEADER: usize = 1 << 10;

const MAGIC: &[u8; 4] = b"PAR1";

/// Looks at a file's footer: at its length, at the lengths in it, and how columns stand in one another.
pub(super) fn check_footer(file: &mut File) -> Result<(), String> {
    let read = footer(file).map_err(|error| format!("it cannot be read: {error}"))?;
    let bytes = read?;
    let mut schema = Schema::default();
    skip_struct(&bytes, |path, seen| schema.see(path, seen))
        .map_err(|_| "its description of itself is damaged".to_string())?;
    schema.check()
}

fn footer(file: &mut File) -> io::Result<Result<Vec<u8>, String>> {
    let length = file.metadata()?.len();
    let mut ends = [[0u8; 4]; 3];
    if length < 12 {
        return Ok(Err("it is no Parquet file: it is too short".into()));
    }
    file.rewind()?;
    file.read_exact(&mut ends[0])?;
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut ends[1])?;
    file.read_exact(&mut ends[2])?;
    if &ends[2] == b"PARE" || &ends[0] == b"PARE" {
        return Ok(Err("it is encrypted, and there is no key".into()));
    }
    if &ends[0] != MAGIC {
        return Ok(Err(
            "it is no Parquet file: it does not begin with PAR1".into()
        ));
    }
    if &ends[2] != MAGIC {
        let reason = "it does not end as a Parquet file does, as if it were cut off";
        return Ok(Err(reason.into()));
    }
    let own = u64::from(u32::from_le_bytes(ends[1]));
    if own > MAX_FOOTER || own > length - 12 {
        let reason = format!("its description of itself would have {own} bytes");
        return Ok(Err(reason));
    }
    file.seek(SeekFrom::Start(length - 8 - own))?;
    let mut bytes = Vec::new();
    file.take(own).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// The tree of columns, which is written flat: each element says how many of the next are in it.
#[derive(Default)]
struct Schema {
    children: Vec<i64>,
    current: i64,
}

impl Schema {
    fn see(&mut self, path: &[i16], seen: Seen) {
        match (path, seen) {
            ([2, 5], Seen::Number(children)) => self.current = children,
            ([2], Seen::End) => self.children.push(std::mem::take(&mut self.current)),
            _ => {}
        }
    }

    fn check(&self) -> Result<(), String> {
        let total = i64::try_from(self.children.len()).unwrap_or(i64::MAX);
        let mut open: Vec<i64> = Vec::new();
        for &children in &self.children {
            if children < 0 || children > total {
                return Err("its columns are damaged".into());
            }
            while let Some(left) = open.last_mut() {
                match *left {
                    0 => drop(open.pop()),
                    _ => {
                        *left -= 1;
                        break;
                    }
                }
            }
            open.push(children);
            if open.len() > DEEPEST {
                return Err(format!("its columns are nested more than {DEEPEST} deep"));
            }
        }
        Ok(())
    }
}

/// Looks at the header of each page of a column between two places of the file.
pub(super) fn check_pages(file: &mut File, start: u64, length: u64) -> Result<(), String> {
    let end = start.checked_add(length);
    let whole = file.metadata().map_err(|error| error.to_string())?.len();
    let end = end.filter(|end| *end <= whole);
    let end = end.ok_or("the file ends before it does, as if it were cut off")?;
    let mut at = start;
    while at < end {
        let page = page(file, at, end)?;
        let sizes = [page.unpacked, page.packed];
        if sizes.iter().any(|size| !(0..=MAX_PAGE).contains(size)) {
            return Err(format!(
                "a page of it has {} MB, and {} are the limit: write it with fewer rows in a row group",
                sizes[0] >> 20,
                MAX_PAGE >> 20
            ));
        }
        // A page without any byte would be read for ever.
        at += page.header.max(1) + page.packed.unsigned_abs();
    }
    Ok(())
}

/// The sizes of a page.
struct Page {
    header: u64,
    unpacked: i64,
    packed: i64,
}

fn page(file: &mut File, at: u64, end: u64) -> Result<Page, String> {
    let mut most = USUAL_HEADER;
    loop {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| {
            let mut part = file.by_ref().take(most.min(left) as u64);
            part.read_to_end(&mut bytes)
        });
        read.map_err(|error| error.to_string())?;
        let (mut unpacked, mut packed) = (-1, -1);
        let found = skip_struct(&bytes, |path, seen| match (path, seen) {
            ([2], Seen::Number(size)) => unpacked = size,
            ([3], Seen::Number(size)) => packed = size,
            _ => {}
        });
        match found {
            Ok(header) => {
                let header = header as u64;
                return Ok(Page {
                    header,
                    unpacked,
                    packed,
                });
            }
            Err(Fault::Short) if most < left && most < MAX_HEADER => most *= 8,
            Err(_) => return Err("a page of it is damaged".into()),
        }
    }
}
