//! The files of an adapter's folder, as PEFT names them.

use crate::{checkpoint::Checkpoint, error::IoError, files::Files};

/// What the adapter is.
pub(crate) const CONFIG: &str = "adapter_config.json";
/// Its tensors.
pub(crate) const TENSORS: &str = "adapter_model.safetensors";
/// The names of the file of tensors, the better form first.
const FILES: [&str; 2] = [TENSORS, "adapter_model.bin"];

/// Opens the tensors of an adapter's folder. Of a pickle no code is run.
pub(crate) fn open_tensors(files: &Files) -> Result<Checkpoint, IoError> {
    match FILES.into_iter().find(|name| files.has(name)) {
        Some(name) => Checkpoint::of_file(files, name),
        None => Err(IoError::MissingFile {
            folder: files.folder().to_path_buf(),
            file: TENSORS.into(),
            remedy: "PEFT's `save_pretrained` writes it, or adapter_model.bin",
        }),
    }
}
