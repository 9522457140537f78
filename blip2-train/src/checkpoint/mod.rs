//! Models that are written as Hugging Face folders.

mod files;
mod merged;

use std::{collections::BTreeMap, fs, path::Path};

use blip2_core::Checkpoint;
use burn::tensor::TensorData;
use serde_json::Value;

use crate::{
    error::TrainError,
    files::{check_apart, save_tensors, write_file, write_tensors},
};

pub(crate) use merged::TrainedValues;

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";

/// Writes the checkpoint `base`, which is in the folder `source`, to `folder` with trained values in
/// it, adapters merged.
pub(crate) fn save_trained(
    source: &Path,
    base: &Checkpoint,
    trained: TrainedValues<'_>,
    folder: &Path,
) -> Result<(), TrainError> {
    check_apart(folder, source)?;
    fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
    files::copy_all_but_weights(source, folder)?;
    let tensors = merged::tensors(base, trained);
    save_tensors(&folder.join(WEIGHTS), tensors, Default::default())
}

/// Writes a checkpoint that is no other's: all of these tensors.
pub(crate) fn save_fresh(
    values: &BTreeMap<String, TensorData>,
    config: &Value,
    folder: &Path,
) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
    let values = values.iter().map(|(name, data)| (name.clone(), data));
    write_tensors(&folder.join(WEIGHTS), values, None)?;
    let path = folder.join(CONFIG);
    write_file(&path, format!("{config:#}\n").as_bytes())
}
