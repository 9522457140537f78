//! What stands beside the weights: configurations, tokenizers, processors.

use std::{fs, path::Path};

use crate::{error::TrainError, files::copy_file};

/// Copies everything but weights, folders included.
pub(super) fn copy_all_but_weights(from: &Path, to: &Path) -> Result<(), TrainError> {
    let failed = |error| TrainError::file(from, error);
    for entry in fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let text = name.to_string_lossy();
        // Hidden files are the business of whoever keeps the folder: a version control, a lock.
        if is_weights(&text) || is_adapter(&text) || text.starts_with('.') {
            continue;
        }
        let target = to.join(name);
        if path.is_dir() {
            fs::create_dir_all(&target).map_err(|error| TrainError::file(&target, error))?;
            copy_all_but_weights(&path, &target)?;
        } else {
            copy_file(&path, &target)?;
        }
    }
    Ok(())
}

/// Whether a file is of an adapter beside the model, which is in the matrices that are written.
fn is_adapter(name: &str) -> bool {
    matches!(name, "adapter_config.json" | "adapter_model.bin")
}

/// Whether a file holds weights, or says in which file each is.
fn is_weights(name: &str) -> bool {
    name.contains(".safetensors") || name.starts_with("pytorch_model")
}
