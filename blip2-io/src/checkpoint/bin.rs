//! A PyTorch file.

use std::collections::BTreeMap;

use burn::tensor::{BoolStore, DType};
use bytes::Bytes;

use super::{Entry, Place, quantized};
use crate::{
    error::IoError,
    files::{Content, Files},
    torch,
};

/// Reads what a file says of its tensors; their numbers are read when they are asked for, one tensor
/// at a time, so that the file is never in memory as a whole.
pub(super) fn open(
    files: &Files,
    name: &str,
    shard: usize,
) -> Result<(Content, BTreeMap<String, Entry>), IoError> {
    let path = files.path(name);
    if let Files::Memory { .. } = files {
        let reason = "it is in memory, and a PyTorch file is read from the disk; give safetensors";
        return Err(torch::malformed(&path, reason.into()));
    }
    let pickled = torch::open(&path)?;
    quantized::check(files, name, pickled.keys())?;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in pickled {
        let Some(dtype) = dtype(tensor.dtype()) else {
            return Err(quantized::refused(
                files,
                path,
                name,
                format!("{:?}", tensor.dtype()),
            ));
        };
        if quantized::is_packed(files, dtype) {
            let dtype = format!("{dtype:?}");
            return Err(quantized::refused(files, path, name, dtype));
        }
        let entry = Entry {
            shard,
            dtype,
            shape: tensor.shape().to_vec(),
            place: Place::Pickled(tensor),
            packed: None,
        };
        tensors.insert(name, entry);
    }
    Ok((Content::from(Bytes::new()), tensors))
}

/// The format that Burn holds it in; `None` for one that is neither of weights nor of buffers.
fn dtype(dtype: pytorch_reader::DType) -> Option<DType> {
    use pytorch_reader::DType as Stored;
    Some(match dtype {
        Stored::F64 => DType::F64,
        Stored::F32 => DType::F32,
        Stored::F16 => DType::F16,
        Stored::BF16 => DType::BF16,
        Stored::I64 => DType::I64,
        Stored::I32 => DType::I32,
        Stored::U8 => DType::U8,
        Stored::Bool => DType::Bool(BoolStore::U8),
        _ => return None,
    })
}
