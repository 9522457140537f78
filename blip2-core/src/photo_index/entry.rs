//! What is kept of a picture.

use std::path::Path;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::error::IndexError;
use crate::embedding::EncodedPhoto;

/// A picture. Its numbers are little-endian `f32`, views into a mapped file or bytes of their own.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) embedding: Bytes,
    /// None of a picture that was added as a vector alone.
    pub(super) encoding: Option<Encoding>,
}

/// The encoded picture, without which it cannot be matched.
#[derive(Debug, Clone)]
pub(super) struct Encoding {
    pub(super) bytes: Bytes,
    /// XXH3 of them.
    pub(super) hash: u64,
}

impl Entry {
    pub(super) fn new(name: String, photo: &EncodedPhoto) -> Self {
        let encoding = bytes(&photo.patches);
        Self {
            name,
            embedding: bytes(photo.embedding.values()),
            encoding: Some(Encoding {
                hash: xxh3_64(&encoding),
                bytes: encoding,
            }),
        }
    }

    /// A picture of which there is the embedding alone.
    pub(super) fn of_vectors(name: String, vectors: &[f32]) -> Self {
        Self {
            name,
            embedding: bytes(vectors),
            encoding: None,
        }
    }

    /// The encoded picture, if it is still what was written.
    pub(super) fn patches(&self, encoding: &Encoding) -> Result<Vec<f32>, IndexError> {
        if xxh3_64(&encoding.bytes) == encoding.hash {
            return Ok(floats(&encoding.bytes));
        }
        Err(IndexError::Damaged {
            path: Path::new(&self.name).to_path_buf(),
            detail: "the picture's encoding is not what was written".into(),
        })
    }
}

fn bytes(values: &[f32]) -> Bytes {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    bytes.into()
}

pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().copied().map(f32::from_le_bytes).collect()
}
