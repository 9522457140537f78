//! PyTorch's own files, `.bin` and `.pth`, read without running what is in them.
//!
//! Such a file is a pickle: a program for a stack machine, whose `GLOBAL` and `REDUCE` call any
//! function by name. [`pytorch_reader`] knows those few that rebuild tensors and refuses all others,
//! so that nothing of the file is run (the class of CVE-2025-32434). It reads no numbers when it
//! opens a file, only where they are; of a view, a tensor that shares its storage with others, it
//! gathers the numbers when they are asked for.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::Path,
};

use pytorch_reader::{PickleError, PytorchError, PytorchReader, Tensor};

use crate::{error::IoError, fault::Cause, lfs, names, regular::open_regular};

mod length;

/// The tensors of a file by their names: the keys on the way to them, with dots between.
pub(crate) fn open(path: &Path) -> Result<BTreeMap<String, Tensor>, IoError> {
    let read = |error| IoError::read(path, error);
    let start = start(path).map_err(read)?;
    if lfs::is_pointer(&start) {
        let path = path.to_path_buf();
        return Err(IoError::GitLfs { path });
    }
    length::check(path, &start).map_err(|error| fault(path, error.into()))?;
    let reader = PytorchReader::new(path).map_err(|error| fault(path, error))?;
    let tensors: BTreeMap<String, Tensor> = reader.into_tensors().into_iter().collect();
    check_sizes(path, &tensors)?;
    match names::fault(tensors.keys()) {
        Some(reason) => Err(malformed(path, reason)),
        None => Ok(tensors),
    }
}

/// Refuses tensors that are larger than their file. A view may repeat a number (its stride is 0), so
/// that a small file would fill the memory.
fn check_sizes(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), IoError> {
    let length = fs::metadata(path).map_err(|error| IoError::read(path, error))?;
    let length = length.len();
    let larger = tensors
        .iter()
        .find(|(_, tensor)| tensor.byte_len() as u64 > length);
    match larger {
        None => Ok(()),
        Some((name, tensor)) => {
            let size = tensor.byte_len();
            let reason = format!("`{name}` has {size} bytes, and the whole file {length}");
            Err(malformed(path, reason))
        }
    }
}

/// How a file begins, by which its kind is known.
fn start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    open_regular(path)?.take(512).read_to_end(&mut start)?;
    Ok(start)
}

/// What the file says that is wrong, apart from what the system does not give.
fn fault(path: &Path, error: PytorchError) -> IoError {
    let damaged = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        )
    };
    match error {
        // What is no plain tensor: fp8 and complex numbers, quantized and sparse tensors.
        PytorchError::Pickle(PickleError::UnsupportedType(name)) => IoError::TensorForm {
            path: path.to_path_buf(),
            form: name.trim_start_matches("torch.").escape_debug().to_string(),
        },
        PytorchError::Io(source) if !damaged(&source) => IoError::read(path, source),
        other => malformed(path, other.to_string()),
    }
}

/// That a file cannot be read as one of PyTorch's.
pub(crate) fn malformed(path: &Path, reason: String) -> IoError {
    IoError::Pickle {
        path: path.to_path_buf(),
        source: Cause::new(reason),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_not_opened() {
        let error = open(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
