//! The tensors of an adapter's file.

use crate::{checkpoint::Checkpoint, error::IoError, files::Files};

const SAFETENSORS: &str = "adapter_model.safetensors";
const PICKLE: &str = "adapter_model.bin";

/// Opens the tensors of an adapter's folder. Of a pickle no code is run.
pub(super) fn open(files: &Files) -> Result<Checkpoint, IoError> {
    match [SAFETENSORS, PICKLE]
        .into_iter()
        .find(|name| files.has(name))
    {
        Some(name) => Checkpoint::of_file(files, name),
        None => Err(IoError::MissingFile {
            folder: files.folder().to_path_buf(),
            file: SAFETENSORS.into(),
            remedy: "PEFT's `save_pretrained` writes it, or adapter_model.bin",
        }),
    }
}
