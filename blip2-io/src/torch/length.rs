//! How long a pickle is, before it is unpickled.
//!
//! An opcode is one byte, and what it leaves on the stack takes a hundred: a file of some megabytes
//! could fill the memory, and a compressed one of some kilobytes. So the opcodes are counted first,
//! which takes no memory.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use zip::ZipArchive;

use crate::regular::open_regular;

/// Of a checkpoint a pickle has some forty opcodes for each tensor; an optimiser's state beside it
/// makes that four times as many.
const MOST_OPCODES: u64 = 2_000_000;
/// The names and small values of those.
const MOST_BYTES: u64 = 32 << 20;
/// A stream begins with a magic number, a version and the system's properties, each a pickle, before
/// the tensors and the keys of their storages.
const PICKLES_OF_A_STREAM: usize = 5;

/// Refuses a file whose pickles are longer than any checkpoint's; `start` is how it begins.
///
/// What is damaged is left to the reader, which says where.
pub(super) fn check(path: &Path, start: &[u8]) -> io::Result<()> {
    const TAR: usize = 257;
    if start.get(TAR..TAR + 5) == Some(b"ustar") {
        return Err(refusal(
            "it is a TAR archive, as PyTorch wrote before version 0.1.10; save it again with a later \
             one",
        ));
    }
    let file = BufReader::new(open_regular(path)?);
    let mut left = Left::default();
    if !start.starts_with(b"PK") {
        return left.count(file, PICKLES_OF_A_STREAM);
    }
    let Ok(mut archive) = ZipArchive::new(file) else {
        return Err(refusal(
            "the archive's end is missing: the file is cut short; download it again",
        ));
    };
    // Entries may lie over one another in the file: a thousand of them need no more room than one.
    for index in 0..archive.len() {
        let Ok(entry) = archive.by_index(index) else {
            continue;
        };
        if entry.name().is_ok_and(|name| name.ends_with("data.pkl")) {
            left.count(BufReader::new(entry), 1)?;
        }
    }
    Ok(())
}

/// What the pickles of a file may still have, all of them together.
struct Left {
    opcodes: u64,
    bytes: u64,
}

impl Default for Left {
    fn default() -> Self {
        Self {
            opcodes: MOST_OPCODES,
            bytes: MOST_BYTES,
        }
    }
}

impl Left {
    /// Walks over the opcodes of `pickles` pickles, one behind the other.
    fn count(&mut self, content: impl BufRead, pickles: usize) -> io::Result<()> {
        let mut content = content.take(self.bytes);
        let counted = self.walk(&mut content, pickles);
        self.bytes = content.limit();
        counted
    }

    fn walk(&mut self, content: &mut io::Take<impl BufRead>, pickles: usize) -> io::Result<()> {
        for _ in 0..pickles {
            loop {
                let opcodes = self.opcodes.checked_sub(1);
                let Some(opcodes) = opcodes.filter(|_| content.limit() > 0) else {
                    return Err(refusal("its pickle is longer than that of any checkpoint"));
                };
                self.opcodes = opcodes;
                match skip(content) {
                    Ok(Step::Next) => {}
                    Ok(Step::Stop) => break,
                    // Cut short, or no pickle: the reader has more to say of it.
                    Ok(Step::Unknown) | Err(_) if content.limit() > 0 => return Ok(()),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// What an opcode was.
enum Step {
    Next,
    Stop,
    Unknown,
}

/// Reads an opcode with its argument (Python's `pickletools` lists them).
fn skip(content: &mut impl BufRead) -> io::Result<Step> {
    let [opcode] = array(content)?;
    match opcode {
        b'.' => return Ok(Step::Stop),
        // Text up to the end of one line, or of two.
        b'I' | b'L' | b'F' | b'V' | b'S' | b'g' | b'p' | b'P' => line(content)?,
        b'c' => {
            line(content)?;
            line(content)?;
        }
        b'K' | b'h' | b'q' | 0x80 => bytes(content, 1)?,
        b'M' => bytes(content, 2)?,
        b'J' | b'j' | b'r' => bytes(content, 4)?,
        b'G' | 0x95 => bytes(content, 8)?,
        // A length, and as many bytes.
        0x8a | 0x8c | b'U' | b'C' => {
            let [length] = array(content)?;
            bytes(content, u64::from(length))?;
        }
        0x8b | b'X' | b'B' | b'T' => {
            let length = u32::from_le_bytes(array(content)?);
            bytes(content, u64::from(length))?;
        }
        0x8d | 0x8e | 0x96 => {
            let length = u64::from_le_bytes(array(content)?);
            bytes(content, length)?;
        }
        // Without an argument.
        b'('
        | b'0'
        | b'1'
        | b'2'
        | b'N'
        | b'R'
        | b'b'
        | b'd'
        | b'l'
        | b't'
        | b's'
        | b'a'
        | b')'
        | b']'
        | b'}'
        | b'e'
        | b'u'
        | b'Q'
        | 0x81
        | 0x85..=0x89
        | 0x8f..=0x94 => {}
        _ => return Ok(Step::Unknown),
    }
    Ok(Step::Next)
}

fn array<const N: usize>(content: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    content.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bytes(content: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut content.by_ref().take(length), &mut io::sink())?;
    match skipped == length {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn line(content: &mut impl BufRead) -> io::Result<()> {
    content.skip_until(b'\n').map(drop)
}

fn refusal(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(content: &[u8], pickles: usize) -> io::Result<()> {
        Left::default().count(content, pickles)
    }

    #[test]
    fn a_pickle_of_millions_of_opcodes_is_refused() {
        let many = vec![b'N'; usize::try_from(MOST_OPCODES).unwrap() + 1];
        assert!(count(&many, 1).is_err());
        let string = [&b"\x8d"[..], &(1u64 << 40).to_le_bytes(), &[b'x'; 100]].concat();
        count(&string, 1).unwrap();
    }

    #[test]
    fn what_follows_a_pickle_is_not_read() {
        let stream = [&b"\x80\x02K\x01."[..], &[b'N'; 3_000_000]].concat();
        count(&stream, 1).unwrap();
        assert!(count(&stream, 2).is_err());
    }

    #[test]
    fn the_pickles_of_a_file_share_what_they_may_have() {
        let half = [vec![b'N'; 1_500_000], vec![b'.']].concat();
        let mut left = Left::default();
        left.count(half.as_slice(), 1).unwrap();
        assert!(left.count(half.as_slice(), 1).is_err());
        let text = [
            &b"X"[..],
            &(20_u32 << 20).to_le_bytes(),
            &[0; 20 << 20],
            b".",
        ]
        .concat();
        let mut left = Left::default();
        left.count(text.as_slice(), 1).unwrap();
        assert!(left.count(text.as_slice(), 1).is_err());
    }
}
