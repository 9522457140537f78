//! The names of pictures whose vectors a NumPy file holds.

use std::{
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use super::error::VectorError;
use crate::{error::IoError, regular::open_regular};

/// Where the names of a NumPy file's rows are: `photos.names.json` beside `photos.npy`, a JSON list of texts.
pub fn names_file(npy: impl AsRef<Path>) -> PathBuf {
    npy.as_ref().with_extension("names.json")
}

/// The names beside a NumPy file of so many pictures; none where there is no such file.
pub(super) fn beside(npy: &Path, pictures: usize) -> Result<Vec<String>, VectorError> {
    let path = names_file(npy);
    let file = match open_regular(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(IoError::read(&path, error).into()),
    };
    let names = serde_json::from_reader::<_, Vec<String>>(BufReader::new(file));
    let reason = match names {
        Ok(names) if names.len() == pictures => return Ok(names),
        Ok(names) => format!(
            "it has {} names for the {pictures} rows of {}; write both again, or take it away",
            names.len(),
            npy.display()
        ),
        Err(error) => format!("it is no JSON list of names, one for each row: {error}"),
    };
    Err(VectorError::Format { path, reason })
}
