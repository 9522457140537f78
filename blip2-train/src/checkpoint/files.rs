//! What stands beside the weights: configurations, tokenizers, processors.

use std::{fs, path::Path};

use crate::error::TrainError;

/// Copies everything but weights, folders included.
pub(super) fn copy_all_but_weights(from: &Path, to: &Path) -> Result<(), TrainError> {
    let failed = |error| TrainError::file(from, error);
    for entry in fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if is_weights(&name.to_string_lossy()) {
            continue;
        }
        let target = to.join(name);
        if path.is_dir() {
            fs::create_dir_all(&target).map_err(|error| TrainError::file(&target, error))?;
            copy_all_but_weights(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(|error| TrainError::file(&target, error))?;
        }
    }
    Ok(())
}

/// Whether a file holds weights, or says in which file each is.
fn is_weights(name: &str) -> bool {
    name.contains(".safetensors") || name.starts_with("pytorch_model")
}
