//! What the tests share: folders with the files a test names, and small safetensors files.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::{fs, path::Path};

use blip2_io::IoError;
use safetensors::{Dtype, tensor::TensorView};
use tempfile::TempDir;

/// The text of a fixture.
pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder that holds these files.
pub(crate) fn folder<B: AsRef<[u8]>>(files: &[(&str, B)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// A tensor for a file: name, format, shape and bytes.
pub(crate) type Stored = (&'static str, Dtype, Vec<usize>, Vec<u8>);

/// A tensor of `f32`.
pub(crate) fn f32s(name: &'static str, shape: &[usize], values: &[f32]) -> Stored {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    (name, Dtype::F32, shape.to_vec(), bytes.collect())
}

/// A safetensors file.
pub(crate) fn safetensors(tensors: &[Stored]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (
            *name,
            TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

/// A safetensors file of a header as it is, padded to no alignment.
pub(crate) fn raw_safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let length = header.len() as u64;
    [&length.to_le_bytes(), header.as_bytes(), data].concat()
}

/// Fails unless the error's message holds every one of `parts`.
#[track_caller]
pub(crate) fn assert_says<T>(result: Result<T, IoError>, parts: &[&str]) {
    let Err(error) = result else {
        panic!("there should be an error that says {parts:?}");
    };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
}
