//! The file that an index is kept in.
//!
//! All numbers are little-endian; nothing is padded.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `BLIP2IDX` |
//! | 4 | the version of the format, 1 or 2 |
//! | 4 | the number of pictures, `n` |
//! | 4 + 4 | the vectors of an embedded picture, and the numbers in each |
//! | 4 + 4 | the vectors of an encoded picture, and the numbers in each |
//! | 8 | the length of the table in bytes |
//! | 16 | the fingerprint of the model, in hexadecimal digits |
//! | 8 | the XXH3 hash of all bytes before it, the table and the embeddings |
//! | table | `n` times: 4 bytes length of the name, 8 bytes XXH3 hash of the encoded picture, in version 2 a byte that is 1 if there is an encoded picture, else 0, the name in UTF-8 |
//! | embeddings | `n` times the embedded picture, `f32` |
//! | encodings | the encoded picture, `f32`, of each that has one |
//!
//! Version 2 is written where a picture has no encoding, so that other indices can be read by older versions.
//!
//! The first hash is checked when the file is opened, for which the embeddings are read once; an
//! encoded picture's own is checked when it is used, so that the large part of the file stays where
//! it is.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use blip2_io::{NewFile, vectors::npy_head};
use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::{
    entry::{Encoding, Entry},
    error::IndexError,
};

/// The newest version of the format, in which a picture may have no encoding.
pub(super) const VERSION: u32 = 2;
/// The one in which every picture has.
const ALL_ENCODED: u32 = 1;
const MAGIC: &[u8; 8] = b"BLIP2IDX";
/// The bytes before the table, and those of them that the hash covers.
const HEADER: usize = 64;
const HASHED: usize = 56;
/// The bytes of a table line without its name.
const LINE: usize = 12;
/// The hexadecimal digits of a fingerprint.
const FINGERPRINT: usize = 16;

/// The sizes of what is kept of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Vectors of an embedded picture, and numbers in each.
    pub(super) embedding: [usize; 2],
    /// Vectors of an encoded picture, and numbers in each.
    pub(super) encoding: [usize; 2],
}

impl Shape {
    pub(super) fn embedding_bytes(self) -> usize {
        4 * self.embedding[0] * self.embedding[1]
    }

    pub(super) fn encoding_bytes(self) -> usize {
        4 * self.encoding[0] * self.encoding[1]
    }
}

/// What a file holds.
pub(super) struct Content {
    pub(super) fingerprint: String,
    pub(super) shape: Shape,
    pub(super) entries: Vec<Entry>,
}

/// Writes an index, whole or not at all, so that no reader ever sees half of one.
pub(super) fn write(path: &Path, content: &Content) -> Result<(), IndexError> {
    write_to(path, content).map_err(|source| IndexError::Write {
        path: path.to_path_buf(),
        source,
    })
}

fn write_to(path: &Path, content: &Content) -> io::Result<()> {
    let all_encoded = content.entries.iter().all(|entry| entry.encoding.is_some());
    let version = if all_encoded { ALL_ENCODED } else { VERSION };
    let mut table = Vec::new();
    for entry in &content.entries {
        let hash = entry.encoding.as_ref().map(|encoding| encoding.hash);
        table.extend(number(entry.name.len())?);
        table.extend(hash.unwrap_or_default().to_le_bytes());
        if !all_encoded {
            table.push(u8::from(hash.is_some()));
        }
        table.extend(entry.name.as_bytes());
    }
    let Shape {
        embedding: [queries, dim],
        encoding: [patches, width],
    } = content.shape;
    let mut header = MAGIC.to_vec();
    header.extend(version.to_le_bytes());
    for size in [content.entries.len(), queries, dim, patches, width] {
        header.extend(number(size)?);
    }
    header.extend((table.len() as u64).to_le_bytes());
    header.extend(content.fingerprint.as_bytes());
    let mut hasher = Xxh3::new();
    hasher.update(&header);
    hasher.update(&table);
    for entry in &content.entries {
        hasher.update(&entry.embedding);
    }
    header.extend(hasher.digest().to_le_bytes());

    let mut file = BufWriter::new(NewFile::create(path)?);
    file.write_all(&header)?;
    file.write_all(&table)?;
    for entry in &content.entries {
        file.write_all(&entry.embedding)?;
    }
    for encoding in content
        .entries
        .iter()
        .filter_map(|entry| entry.encoding.as_ref())
    {
        file.write_all(&encoding.bytes)?;
    }
    file.into_inner()?.finish()
}

/// Writes embeddings as a NumPy file, whole or not at all.
pub(super) fn write_npy<'e>(
    path: &Path,
    shape: Shape,
    embeddings: impl ExactSizeIterator<Item = &'e [u8]>,
) -> io::Result<()> {
    let [queries, dim] = shape.embedding;
    let mut file = BufWriter::new(NewFile::create(path)?);
    file.write_all(&npy_head(&[embeddings.len(), queries, dim]))?;
    for embedding in embeddings {
        file.write_all(embedding)?;
    }
    file.into_inner()?.finish()
}

fn number(size: usize) -> io::Result<[u8; 4]> {
    let size = u32::try_from(size)
        .map_err(|_| io::Error::other(format!("{size} is more than the format can count")))?;
    Ok(size.to_le_bytes())
}

/// Reads what a file holds: every size is checked against its length before anything is used.
pub(super) fn read(path: &Path, file: &Bytes) -> Result<Content, IndexError> {
    Reader { path, file }.content()
}

struct Reader<'f> {
    path: &'f Path,
    file: &'f Bytes,
}

impl Reader<'_> {
    fn content(&self) -> Result<Content, IndexError> {
        if !self.file.starts_with(MAGIC) {
            return Err(IndexError::NotAnIndex { path: self.path() });
        }
        let version = self.u32(8)?;
        if ![ALL_ENCODED, VERSION].contains(&version) {
            return Err(IndexError::Version {
                path: self.path(),
                found: version,
                known: VERSION,
            });
        }
        let [count, queries, dim, patches, width] = [
            self.u32(12)?,
            self.u32(16)?,
            self.u32(20)?,
            self.u32(24)?,
            self.u32(28)?,
        ];
        let table = self.u64(32)?;
        let all_encoded = version == ALL_ENCODED;
        let least = length(count, [queries, dim], [patches, width], table, all_encoded)
            .ok_or_else(|| self.damaged("its header states impossible sizes"))?;
        // Of the other version the table tells how many encodings follow.
        let found = self.file.len() as u64;
        if found < least || all_encoded && found > least {
            return Err(self.wrong_length(least));
        }
        // Everything lies within the file, so every size below fits.
        let shape = Shape {
            embedding: [queries as usize, dim as usize],
            encoding: [patches as usize, width as usize],
        };
        let embeddings = HEADER + table as usize;
        let encodings = embeddings + count as usize * shape.embedding_bytes();
        let mut hasher = Xxh3::new();
        hasher.update(self.bytes(0, HASHED)?);
        hasher.update(self.bytes(HEADER, encodings - HEADER)?);
        if hasher.digest() != self.u64(HASHED)? {
            return Err(self.damaged("its hash is not that of its content"));
        }
        let fingerprint = std::str::from_utf8(self.bytes(HASHED - FINGERPRINT, FINGERPRINT)?)
            .map_err(|_| self.damaged("its fingerprint is no text"))?
            .to_string();
        let mut entries = Vec::with_capacity(count as usize);
        let mut names = BTreeSet::new();
        let (mut line, mut next) = (HEADER, encodings);
        for n in 0..count as usize {
            let (name, hash, end) = self.line(line, embeddings, all_encoded)?;
            if !names.insert(name.clone()) {
                return Err(self.damaged("a name is in it twice"));
            }
            let start = embeddings + n * shape.embedding_bytes();
            let encoding = match hash {
                None => None,
                Some(hash) => {
                    let bytes = self.slice(next, shape.encoding_bytes())?;
                    next += shape.encoding_bytes();
                    Some(Encoding { bytes, hash })
                }
            };
            entries.push(Entry {
                name,
                embedding: self.slice(start, shape.embedding_bytes())?,
                encoding,
            });
            line = end;
        }
        if line != embeddings {
            return Err(self.damaged("its table is longer than its names"));
        }
        if next != self.file.len() {
            return Err(self.wrong_length(next as u64));
        }
        Ok(Content {
            fingerprint,
            shape,
            entries,
        })
    }

    /// A line of the table: a name, the hash of its encoding, if it has one, and where the line ends.
    fn line(
        &self,
        line: usize,
        table_end: usize,
        all_encoded: bool,
    ) -> Result<(String, Option<u64>, usize), IndexError> {
        let head = if all_encoded { LINE } else { LINE + 1 };
        let name_length = self.u32(line)? as usize;
        let end = line.checked_add(head + name_length);
        let end = end.filter(|end| *end <= table_end);
        let end = end.ok_or_else(|| self.damaged("its table is shorter than its names"))?;
        let encoded = all_encoded || self.bytes(line + LINE, 1)? == [1];
        let name = std::str::from_utf8(self.bytes(line + head, name_length)?)
            .map_err(|_| self.damaged("a name in it is no text"))?;
        let hash = encoded.then(|| self.u64(line + 4)).transpose()?;
        Ok((name.to_string(), hash, end))
    }

    fn slice(&self, start: usize, length: usize) -> Result<Bytes, IndexError> {
        self.bytes(start, length)?;
        Ok(self.file.slice(start..start + length))
    }

    fn bytes(&self, start: usize, length: usize) -> Result<&[u8], IndexError> {
        let end = start.checked_add(length);
        end.and_then(|end| self.file.get(start..end))
            .ok_or_else(|| self.wrong_length(HEADER as u64))
    }

    fn u32(&self, start: usize) -> Result<u32, IndexError> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.bytes(start, 4)?);
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&self, start: usize) -> Result<u64, IndexError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.bytes(start, 8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn path(&self) -> PathBuf {
        self.path.to_path_buf()
    }

    fn wrong_length(&self, expected: u64) -> IndexError {
        IndexError::Length {
            path: self.path(),
            found: self.file.len() as u64,
            expected,
        }
    }

    fn damaged(&self, detail: &str) -> IndexError {
        IndexError::Damaged {
            path: self.path(),
            detail: detail.to_string(),
        }
    }
}

/// The length of a file with these sizes, if there can be one: with all encodings, or without any.
fn length(
    count: u32,
    embedding: [u32; 2],
    encoding: [u32; 2],
    table: u64,
    all_encoded: bool,
) -> Option<u64> {
    let bytes = |[vectors, width]: [u32; 2]| {
        let numbers = u64::from(vectors).checked_mul(u64::from(width))?;
        (numbers > 0).then_some(numbers)?.checked_mul(4)
    };
    let encoding = bytes(encoding)?.checked_mul(u64::from(all_encoded))?;
    let each = bytes(embedding)?.checked_add(encoding)?;
    let pictures = u64::from(count).checked_mul(each)?;
    let all = pictures.checked_add(table)?.checked_add(HEADER as u64)?;
    usize::try_from(all).ok()?;
    Some(all)
}
