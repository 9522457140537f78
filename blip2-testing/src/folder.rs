//! Folders and safetensors files of a test's own.

use std::fs;

use safetensors::{Dtype, tensor::TensorView};
use tempfile::TempDir;

/// A folder that holds these files.
pub fn folder<B: AsRef<[u8]>>(files: &[(&str, B)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// A tensor for a file: name, format, shape and bytes.
pub type Stored = (&'static str, Dtype, Vec<usize>, Vec<u8>);

/// A tensor of `f32`.
pub fn f32s(name: &'static str, shape: &[usize], values: &[f32]) -> Stored {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    (name, Dtype::F32, shape.to_vec(), bytes.collect())
}

/// A safetensors file.
pub fn safetensors(tensors: &[Stored]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (
            *name,
            TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

/// A safetensors file of a header as it is, padded to no alignment.
pub fn raw_safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let length = header.len() as u64;
    [&length.to_le_bytes(), header.as_bytes(), data].concat()
}
