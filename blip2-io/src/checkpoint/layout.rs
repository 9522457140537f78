//! Which files of a folder hold its weights.

use std::collections::BTreeMap;

use super::{
    SAFETENSORS, SINGLE,
    index::{self, WeightMap},
};
use crate::{error::IoError, files::Files};

/// How the weights are laid out.
pub(super) enum Layout {
    /// In one file.
    Single(String),
    /// In shards, with an index of this name.
    Indexed(String, WeightMap),
    /// In shards that no index speaks of.
    Shards(Vec<String>),
}

/// The two formats, in the order in which `transformers` looks for them: what the files' names begin
/// with and end with.
const FORMATS: [(&str, &str); 2] = [("model", ".safetensors"), ("pytorch_model", ".bin")];

impl Layout {
    /// The layout of a folder's weights. Safetensors go before PyTorch's own files.
    pub(super) fn of(files: &Files) -> Result<Self, IoError> {
        // Of a set that is not whole, if there is nothing else.
        let mut incomplete = None;
        for (stem, end) in FORMATS {
            let single = format!("{stem}{end}");
            if files.has(&single) {
                return Ok(Self::Single(single));
            }
            let index = format!("{single}.index.json");
            if let Some(text) = files.read(&index)? {
                let map = index::parse(&files.path(&index), &text)?;
                return Ok(Self::Indexed(index, map));
            }
            match shards(files, stem, end) {
                Ok(Some(shards)) => return Ok(Self::Shards(shards)),
                Ok(None) => {}
                Err(error) => incomplete = incomplete.or(Some(error)),
            }
        }
        Err(match incomplete {
            Some(error) => error,
            None => missing(files)?,
        })
    }
}

/// All shards, as `model-00001-of-00002.safetensors`, if there is one.
fn shards(files: &Files, stem: &str, end: &str) -> Result<Option<Vec<String>>, IoError> {
    let number = |name: &str| -> Option<(String, usize)> {
        let middle = name.strip_prefix(stem)?.strip_suffix(end)?;
        let (number, of) = middle.strip_prefix('-')?.split_once("-of-")?;
        Some((of.to_string(), number.parse().ok()?))
    };
    let mut sets: BTreeMap<String, BTreeMap<usize, String>> = BTreeMap::new();
    for name in files.names()? {
        if let Some((of, number)) = number(&name) {
            sets.entry(of).or_default().insert(number, name);
        }
    }
    let Some((of, found)) = sets.pop_first() else {
        return Ok(None);
    };
    let count: usize = of.parse().unwrap_or(0);
    let missing = (1..=count).find(|number| !found.contains_key(number));
    if let Some(number) = missing {
        return Err(IoError::MissingShard {
            folder: files.folder().to_path_buf(),
            missing: format!("{stem}-{number:0width$}-of-{of}{end}", width = of.len()),
            found: found.len(),
            of: count,
        });
    }
    Ok(Some(found.into_values().collect()))
}

/// That there are no weights, and what there is in their place.
fn missing(files: &Files) -> Result<IoError, IoError> {
    let names = files.names()?;
    let any = |end: &str| names.iter().any(|name| name.ends_with(end));
    let remedy = if names.iter().any(|name| name == SINGLE) {
        match files.path(SINGLE).is_dir() {
            true => "a folder is called so, where the file should be",
            false => {
                "it is a link to a file that is gone, as where a cache was cleaned up; download the model again"
            }
        }
    } else if any(".gguf") {
        "only a GGUF file is there, of llama.cpp; download the model's safetensors in its place"
    } else if any("tf_model.h5") || any("flax_model.msgpack") || any(".onnx") {
        "only weights for TensorFlow, Flax or ONNX are there; download the model's safetensors, or \
         its pytorch_model.bin, in their place"
    } else if any(SAFETENSORS) || any(".bin") || any(".pth") || any(".pt") {
        "weights of another name are there; rename them to model.safetensors or pytorch_model.bin if \
         they are this model's (a .pth file of LAVIS is to be converted)"
    } else {
        "a checkpoint folder holds it, or shards of it, or pytorch_model.bin"
    };
    Ok(IoError::MissingFile {
        folder: files.folder().to_path_buf(),
        file: SINGLE.into(),
        remedy,
    })
}
