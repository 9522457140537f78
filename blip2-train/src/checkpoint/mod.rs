//! Models that are written as Hugging Face folders.

mod adapted;
mod files;
mod merged;
mod trained;

use std::{collections::BTreeMap, ffi::OsString, fs, io, path::Path};

use blip2_core::{Checkpoint, CheckpointFolder, ModelKind};
use blip2_io::{Adapter, check_folders_apart};
use burn::tensor::TensorData;
use serde_json::{Map, Value};

use crate::{
    error::TrainError,
    files::{copy_file, read_file, save_tensors, write_file, write_tensors},
};

use adapted::Adapted;
use merged::Changes;
pub(crate) use trained::TrainedValues;

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const PROMPTS: &str = "blip2.json";

/// Writes the checkpoint `base`, which is in the folder `source`, to `folder` with trained values in
/// it, adapters merged.
pub(crate) fn save_trained(
    source: &Path,
    base: &Checkpoint,
    trained: TrainedValues<'_>,
    folder: &Path,
) -> Result<(), TrainError> {
    check_folders_apart(folder, source)?;
    save_changed(source, base, &trained, folder)
}

/// Writes a model with an adapter in its matrices to `folder`, as a Hugging Face folder in the number
/// formats of its base (`merge_and_unload` of PEFT), with the template beside the adapter (`blip2.json`).
///
/// ```no_run
/// use blip2_core::CheckpointFolder;
/// use blip2_train::merge;
///
/// let base = CheckpointFolder::open("models/blip2-opt-2.7b")?;
/// merge(&base, &blip2_io::Adapter::open("adapters/mine")?, "models/mine")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`TrainError`] before anything is written if the adapter does not go with the model, or `folder` is
/// that of the model or of the adapter, or holds one of them; and if a file cannot be written.
pub fn merge(
    base: &CheckpointFolder,
    adapter: &Adapter,
    folder: impl AsRef<Path>,
) -> Result<(), TrainError> {
    let (source, folder) = (base.path(), folder.as_ref());
    if !source.is_dir() {
        let reason = "is no folder of a model; what `pack` wrote cannot be merged with, but the folder \
                      that it was made of can";
        return Err(TrainError::state(source, reason));
    }
    check_folders_apart(folder, source)?;
    check_folders_apart(folder, adapter.path())?;
    check_free(source, folder)?;
    let checkpoint = base.checkpoint()?;
    let adapted = Adapted::new(adapter, &checkpoint)?;
    save_changed(source, &checkpoint, &adapted, folder)?;
    if base
        .kind()
        .is_ok_and(|kind| kind == ModelKind::GraniteSpeech)
    {
        without_adapter(folder)?;
    }
    // The template that the adapter was trained with.
    let prompts = adapter.path().join(PROMPTS);
    match prompts.is_file() {
        true => copy_file(&prompts, &folder.join(PROMPTS)),
        false => Ok(()),
    }
}

/// Says in the configuration of a model of sound that no adapter lies beside it: it would be asked for.
fn without_adapter(folder: &Path) -> Result<(), TrainError> {
    let path = folder.join(CONFIG);
    let read = serde_json::from_slice(&read_file(&path)?);
    let mut config: Map<String, Value> = read.map_err(|error| TrainError::format(&path, error))?;
    config.insert("has_lora_adapter".into(), false.into());
    write_file(&path, format!("{:#}\n", Value::Object(config)).as_bytes())
}

/// Refuses a folder that holds another model, which would be lost or mixed with this one. What a merge that
/// was stopped has left is no other model.
fn check_free(source: &Path, folder: &Path) -> Result<(), TrainError> {
    if folder.exists() && !folder.is_dir() {
        let reason = "is a file, and the model is written into a folder; give another name";
        let exists = io::Error::new(io::ErrorKind::AlreadyExists, reason);
        return Err(TrainError::file(folder, exists));
    }
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let is_weights = |name: OsString| {
        let name = name.to_string_lossy().into_owned();
        [".safetensors", ".bin", ".index.json"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let config = |folder: &Path| fs::read(folder.join(CONFIG)).ok();
    let other = config(folder).is_some_and(|found| Some(found) != config(source));
    match other || names.into_iter().any(is_weights) {
        true => {
            let reason = "holds a model already; give another folder, or remove this one";
            let exists = io::Error::new(io::ErrorKind::AlreadyExists, reason);
            Err(TrainError::file(folder, exists))
        }
        false => Ok(()),
    }
}

fn save_changed(
    source: &Path,
    base: &Checkpoint,
    changes: &dyn Changes,
    folder: &Path,
) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
    files::copy_all_but_weights(source, folder)?;
    let (tensors, beyond) = merged::tensors(base, changes);
    let checked = || match beyond.first() {
        None => Ok(()),
        Some((name, format)) => {
            let reason = format!(
                "`{name}` would hold numbers that are none, or beyond what {format} holds, in which the base has it: \
                 no weights are written; use the adapter as it is, or a base in float32"
            );
            Err(TrainError::state(folder, reason))
        }
    };
    save_tensors(&folder.join(WEIGHTS), tensors, Default::default(), checked)
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
