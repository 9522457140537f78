//! The tensors of an adapter's file.

use crate::{checkpoint::Checkpoint, error::IoError, files::Files};

/// The names of the file, the better form first. Of a pickle no code is run.
const FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// Opens the tensors of an adapter's folder. Of a pickle no code is run.
pub(super) fn open(files: &Files) -> Result<Checkpoint, IoError> {
    match FILES.into_iter().find(|name| files.has(name)) {
        Some(name) => Checkpoint::of_file(files, name),
        None => Err(IoError::MissingFile {
            folder: files.folder().to_path_buf(),
            file: "adapter_model.safetensors".into(),
            remedy: "PEFT's `save_pretrained` writes it, or adapter_model.bin",
        }),
    }
}
