//! The tensors of an adapter's file.

use std::{borrow::Cow, fs, path::Path};

use pytorch_reader::{DType, PytorchError, PytorchReader};
use safetensors::Dtype;

use super::fault::Fault;
use crate::{
    checkpoint::Checkpoint,
    error::IoError,
    files::{Content, Files},
};

const SAFETENSORS: &str = "adapter_model.safetensors";
const PICKLE: &str = "adapter_model.bin";

/// Opens the tensors of an adapter's folder.
pub(super) fn open(files: &Files) -> Result<Checkpoint, IoError> {
    if let Some(content) = files.map(SAFETENSORS)? {
        return Checkpoint::of_file(files.path(SAFETENSORS), content);
    }
    if files.has(PICKLE) {
        let path = files.path(PICKLE);
        let content = Content::held(pickled(&path)?.into());
        return Checkpoint::of_file(path, content);
    }
    Err(IoError::MissingFile {
        folder: files.folder().to_path_buf(),
        file: SAFETENSORS.into(),
        remedy: "PEFT's `save_pretrained` writes it, or adapter_model.bin",
    })
}

/// What a pickle holds, as the bytes of a safetensors file. No code of it is run.
fn pickled(path: &Path) -> Result<Vec<u8>, IoError> {
    let fault = |reason: String| Fault::Malformed.of(path, reason);
    let refused = |error| match error {
        PytorchError::Io(source) => IoError::read(path, source),
        other => fault(format!(
            "it is no PyTorch file that can be read without running code: {other}"
        )),
    };
    let length = fs::metadata(path)
        .map_err(|error| IoError::read(path, error))?
        .len();
    let tensors = PytorchReader::new(path).map_err(refused)?.into_tensors();
    // Views of one storage could claim it again and again; an adapter's tensors are each their own.
    let bytes: u128 = tensors
        .values()
        .map(|tensor| tensor.byte_len() as u128)
        .sum();
    if bytes > u128::from(length) {
        return Err(fault(format!(
            "its tensors claim {bytes} bytes, and the file has {length}"
        )));
    }
    let mut held = Vec::new();
    for (name, tensor) in tensors {
        let dtype = match tensor.dtype() {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            other => {
                return Err(IoError::Dtype {
                    path: path.to_path_buf(),
                    tensor: name,
                    dtype: format!("{other:?}"),
                });
            }
        };
        let bytes = tensor.read().map_err(|error| IoError::read(path, error))?;
        held.push((name, Pickled(dtype, tensor.shape().to_vec(), bytes)));
    }
    safetensors::serialize(held, None).map_err(|error| IoError::safetensors(path, error))
}

struct Pickled(Dtype, Vec<usize>, Vec<u8>);

impl safetensors::View for Pickled {
    fn dtype(&self) -> Dtype {
        self.0
    }

    fn shape(&self) -> &[usize] {
        &self.1
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.2)
    }

    fn data_len(&self) -> usize {
        self.2.len()
    }
}
