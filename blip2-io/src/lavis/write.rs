//! The folder.

use std::{borrow::Cow, cell::RefCell, collections::HashMap, fs, io, path::Path};

use safetensors::{Dtype, SafeTensorError, View};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Architecture, Files, Piece, Pieces};
use crate::{
    config::{Blip2Config, BlipConfig},
    error::IoError,
};

const WEIGHTS: &str = "model.safetensors";

/// Refuses a folder that has something in it.
pub(super) fn check_empty(folder: &Path) -> Result<(), IoError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(IoError::write(folder, error)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                let exists = io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "the folder is not empty; give another, or empty it",
                );
                Err(IoError::write(folder, exists))
            }
        },
    }
}

/// The files that say what the weights are.
pub(super) fn others(
    config: &Blip2Config,
    architecture: Architecture,
    temperature: Option<f32>,
    files: &mut Files,
) {
    let mut text = json!(config);
    if architecture == Architecture::Retrieval
        && let Some(object) = text.as_object_mut()
    {
        object.remove("text_config");
    }
    if let Some(temperature) = temperature {
        text["itc_temperature"] = json!(temperature);
    }
    let preprocessor = preprocessor(config.vision_config.image_size);
    let class = match architecture.is_instruct() {
        true => "InstructBlipProcessor",
        false => "Blip2Processor",
    };
    let processor = json!({
        "processor_class": class,
        "num_query_tokens": config.num_query_tokens,
    });
    insert(files, "config.json", &text);
    insert(files, "preprocessor_config.json", &preprocessor);
    insert(files, "processor_config.json", &processor);
}

/// The same of a BLIP-1.
pub(super) fn others_of_blip1(
    config: &BlipConfig,
    architecture: Architecture,
    temperature: Option<f32>,
    files: &mut Files,
) {
    let mut text = json!(config);
    text["architectures"] = json!([architecture.class()]);
    if let Some(temperature) = temperature {
        text["itc_temperature"] = json!(temperature);
    }
    insert(files, "config.json", &text);
    let mut preprocessor = preprocessor(config.vision_config.image_size);
    preprocessor["processor_class"] = json!("BlipProcessor");
    insert(files, "preprocessor_config.json", &preprocessor);
}

fn insert(files: &mut Files, name: &str, value: &Value) {
    files.insert(name.into(), format!("{value:#}\n").into_bytes());
}

/// How LAVIS prepares pictures for evaluation.
fn preprocessor(side: usize) -> Value {
    json!({
        "image_processor_type": "BlipImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true,
        "size": { "height": side, "width": side },
        "resample": 3,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    })
}

/// Writes everything beside the folder's name and renames it, so that the folder appears whole or not
/// at all.
pub(super) fn folder(path: &Path, pieces: Pieces, files: Files) -> Result<(), IoError> {
    let failed = |error| IoError::write(path, error);
    // An empty folder may be there, perhaps behind a link.
    let there = fs::canonicalize(path);
    let path = there.as_deref().unwrap_or(path);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed)?;
    let partial = partial_folder(path, parent).map_err(failed)?;
    write_into(partial.path(), path, pieces, files)?;
    if path.is_dir() {
        fs::remove_dir(path).map_err(failed)?;
    }
    fs::rename(partial.path(), path).map_err(failed)?;
    // It has another name now: there is nothing left to remove.
    let _ = partial.keep();
    Ok(())
}

/// A folder beside `path` with a name of its own, which goes with what holds it.
fn partial_folder(path: &Path, parent: &Path) -> io::Result<TempDir> {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".partial");
    open_to_others(&mut builder);
    builder.tempdir_in(parent)
}

/// Lets those into the folder who may enter what this process makes.
#[cfg(unix)]
fn open_to_others(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    // The process's mask takes away from these.
    builder.permissions(fs::Permissions::from_mode(0o777));
}

#[cfg(not(unix))]
fn open_to_others(_: &mut tempfile::Builder<'_, '_>) {}

/// `named` is what errors call the folder.
fn write_into(path: &Path, named: &Path, pieces: Pieces, files: Files) -> Result<(), IoError> {
    for (name, content) in files {
        let file = path.join(&name);
        let written = match file.parent() {
            Some(parent) => fs::create_dir_all(parent).and_then(|()| fs::write(&file, content)),
            None => fs::write(&file, content),
        };
        written.map_err(|error| IoError::write(&named.join(name), error))?;
    }
    safetensors(&path.join(WEIGHTS), &named.join(WEIGHTS), pieces)
}

/// A piece that is read when it is written. The format's library has no way for that to fail, so a
/// failure is kept for the end, and zeros are written meanwhile.
struct Written<'w> {
    piece: Piece,
    path: &'w Path,
    failed: &'w RefCell<Option<IoError>>,
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        self.piece.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.piece.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let zeros = || vec![0; self.piece.len()];
        if self.failed.borrow().is_some() {
            return Cow::Owned(zeros());
        }
        match self.piece.read(self.path) {
            Ok(bytes) if bytes.len() == self.piece.len() => Cow::Owned(bytes),
            Ok(_) => {
                let short = io::Error::from(io::ErrorKind::UnexpectedEof);
                self.failed.replace(Some(IoError::write(self.path, short)));
                Cow::Owned(zeros())
            }
            Err(error) => {
                self.failed.replace(Some(error));
                Cow::Owned(zeros())
            }
        }
    }

    fn data_len(&self) -> usize {
        self.piece.len()
    }
}

fn safetensors(path: &Path, named: &Path, pieces: Pieces) -> Result<(), IoError> {
    let failed = RefCell::new(None);
    let tensors = pieces.into_iter().map(|(name, piece)| {
        let failed = &failed;
        (
            name,
            Written {
                piece,
                path: named,
                failed,
            },
        )
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let result = safetensors::serialize_to_file(tensors, Some(metadata), path);
    if let Some(error) = failed.take() {
        return Err(error);
    }
    result.map_err(|error| match error {
        SafeTensorError::IoError(source) => IoError::write(named, source),
        other => IoError::safetensors(named, other),
    })
}
