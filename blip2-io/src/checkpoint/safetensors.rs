//! A safetensors file.

use std::collections::BTreeMap;

use burn::tensor::{BoolStore, DType};
use safetensors::Dtype;

use super::{Entry, Place, header, packed, quantized};
use crate::{
    error::IoError,
    files::{Content, Files},
    names,
};

/// Maps a file and reads its header, which is checked against the file's length.
pub(super) fn open(
    files: &Files,
    name: &str,
    shard: usize,
) -> Result<(Content, BTreeMap<String, Entry>), IoError> {
    let path = files.path(name);
    let content = files.map(name)?.ok_or_else(|| IoError::MissingFile {
        folder: files.folder().to_path_buf(),
        file: name.to_string(),
        remedy: "it was there a moment ago",
    })?;
    let (start, metadata) =
        header::read(&content.bytes).map_err(|error| IoError::safetensors(&path, error))?;
    if let Some(fault) = names::fault(metadata.tensors().keys()) {
        return Err(IoError::safetensors(&path, fault));
    }
    quantized::check(files, name, metadata.tensors().keys())?;
    let matrices = packed::matrices(metadata.metadata());
    let mut matrices = matrices.map_err(|detail| IoError::safetensors(&path, detail))?;
    let mut tensors = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        if packed::is_file(&name) {
            continue;
        }
        let Some(dtype) = dtype(info.dtype) else {
            return Err(quantized::refused(
                files,
                path,
                name,
                format!("{:?}", info.dtype),
            ));
        };
        let (from, to) = info.data_offsets;
        let matrix = matrices.remove(&name);
        if matrix.is_none() && quantized::is_packed(files, dtype) {
            let dtype = format!("{dtype:?}");
            return Err(quantized::refused(files, path, name, dtype));
        }
        if let Some(matrix) = &matrix {
            let checked = matrix.check(&name, dtype, to - from);
            checked.map_err(|detail| IoError::safetensors(&path, detail))?;
        }
        let entry = Entry {
            shard,
            dtype: matrix.map_or(dtype, |_| DType::F32),
            shape: matrix.map_or_else(|| info.shape.clone(), |matrix| matrix.shape.to_vec()),
            place: Place::Range(start + from..start + to),
            packed: matrix.map(|matrix| matrix.format),
        };
        tensors.insert(name, entry);
    }
    Ok((content, tensors))
}

/// The format that Burn holds it in; `None` for one that is neither of weights nor of buffers.
fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        // Buffers such as position ids: no weights, and no model asks for them.
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool(BoolStore::U8),
        _ => return None,
    })
}
