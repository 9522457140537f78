//! By what it is seen that a Parquet file is another one.

use std::{
    fs::File,
    io::{self, Read as _, Seek, SeekFrom},
};

use parquet::file::metadata::ParquetMetaData;
use xxhash_rust::xxh3::Xxh3;

/// The bytes at a file's end that say how long its metadata is.
const TAIL: u64 = 8;
/// A column's bytes in a row group are hashed whole up to this number.
const WHOLE: u64 = 1 << 20;
/// Of more, this number of samples is.
const SAMPLES: u64 = 16;
/// How many bytes a sample has.
const SAMPLE: u64 = WHOLE / SAMPLES;

/// Hashes a file's metadata, with the places and sizes of all that is in it, and what stands there: all of
/// small columns, samples of large ones, since tables of pictures have more bytes than a start may read.
pub(super) fn add(hasher: &mut Xxh3, file: &File, metadata: &ParquetMetaData) -> io::Result<()> {
    hasher.update(&footer(file)?);
    for group in metadata.row_groups() {
        for column in group.columns() {
            // Negative numbers stand in damaged files, which reading refuses.
            let begin = column
                .dictionary_page_offset()
                .unwrap_or(column.data_page_offset());
            let range = (
                u64::try_from(begin),
                u64::try_from(column.compressed_size()),
            );
            if let (Ok(begin), Ok(size)) = range {
                for (at, count) in samples(begin, size) {
                    hasher.update(&read(file, at, count)?);
                }
            }
        }
    }
    Ok(())
}

/// Where samples begin, and how many bytes they have.
fn samples(begin: u64, size: u64) -> Vec<(u64, u64)> {
    if size <= WHOLE {
        return vec![(begin, size)];
    }
    let last = size - SAMPLE;
    let step = last / (SAMPLES - 1);
    let places = (0..SAMPLES - 1).map(|n| n * step).chain([last]);
    places
        .map(|place| (begin.saturating_add(place), SAMPLE))
        .collect()
}

fn footer(mut file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let mut tail = [0; TAIL as usize];
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, ..] = tail;
    let footer = u64::from(u32::from_le_bytes([a, b, c, d])) + TAIL;
    read(file, length.saturating_sub(footer), footer)
}

/// Bytes of a file, as many as there are.
fn read(mut file: &File, at: u64, count: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}
