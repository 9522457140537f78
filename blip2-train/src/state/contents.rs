//! What a state consists of, to the bit.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::Path,
};

use blip2_io::open_regular;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::layout::CONTENTS;
use crate::{
    error::TrainError,
    files::{read_file, write_file},
    lora::LoraConfig,
};

/// The files of a state by their hashes, and what their numbers mean only together with.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// XXH3 of each file, in hexadecimal.
    files: BTreeMap<String, String>,
    /// What adapters add is multiplied by this: with another factor they are other ones.
    #[serde(default)]
    scale: Option<f64>,
    /// Those of some layers by other numbers.
    #[serde(default)]
    alpha_pattern: Vec<(String, f64)>,
    /// The fingerprint of the base model, where it is known: what was trained goes with no other.
    #[serde(default)]
    base: Option<String>,
}

impl Contents {
    /// Writes what is in a state's folder now.
    pub(super) fn save(
        folder: &Path,
        lora: Option<&LoraConfig>,
        base: Option<&str>,
    ) -> Result<(), TrainError> {
        let contents = Self {
            files: hashes(folder).map_err(|error| TrainError::file(folder, error))?,
            scale: lora.map(LoraConfig::scale),
            alpha_pattern: lora.map_or_else(Vec::new, |own| own.alpha_pattern.clone()),
            base: base.map(String::from),
        };
        let path = folder.join(CONTENTS);
        let text = serde_json::to_vec_pretty(&contents)
            .map_err(|error| TrainError::format(&path, error))?;
        write_file(&path, &text)
    }

    /// Reads what should be in a state's folder. Without it nothing says whether the other files are whole.
    pub(super) fn load(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(CONTENTS);
        if !path.exists() {
            let reason = "it is missing, and has the hashes by which the state is known to be whole: the \
                          state is damaged, or of a version that wrote none";
            return Err(TrainError::state(&path, reason));
        }
        serde_json::from_slice(&read_file(&path)?).map_err(|error| TrainError::format(&path, error))
    }

    /// Refuses a folder in which a file is missing or has changed.
    pub(super) fn check(&self, folder: &Path) -> Result<(), TrainError> {
        for (name, hash) in &self.files {
            let path = folder.join(name);
            // A name comes from the file: with a path in it, it would have any file read.
            if path.file_name() != Some(name.as_ref()) || path.parent() != Some(folder) {
                let reason = format!("it names the file {name:?}, which is none of a state");
                return Err(TrainError::state(&folder.join(CONTENTS), reason));
            }
            let found = hash_of(&path).map_err(|error| TrainError::file(&path, error))?;
            if found != *hash {
                let reason = "it is not what was saved: the file is damaged, or was changed";
                return Err(TrainError::state(&path, reason));
            }
        }
        Ok(())
    }

    /// Refuses another base model than that of the state.
    pub(super) fn check_base(&self, folder: &Path, base: Option<&str>) -> Result<(), TrainError> {
        match (&self.base, base) {
            (Some(saved), Some(now)) if saved != now => {
                let reason = "it was trained over another base model, whose weights are not these; train \
                              over that one, or give another folder";
                Err(TrainError::state(folder, reason))
            }
            _ => Ok(()),
        }
    }

    /// Refuses adapters that are multiplied by another factor than those of the state.
    pub(super) fn check_scale(
        &self,
        folder: &Path,
        lora: Option<&LoraConfig>,
    ) -> Result<(), TrainError> {
        match (self.scale, lora.map(LoraConfig::scale)) {
            (Some(saved), Some(now)) if saved != now => {
                let reason = format!(
                    "its adapters are multiplied by alpha / rank = {saved}, and now it is {now}, \
                     which makes other ones of them; train with the alpha and rank before, or give \
                     another folder"
                );
                Err(TrainError::state(folder, reason))
            }
            (Some(_), Some(_))
                if lora.is_some_and(|own| own.alpha_pattern != self.alpha_pattern) =>
            {
                let reason = "its adapters are multiplied by another `alpha_pattern`, which makes other \
                              ones of them; train with the one before, or give another folder";
                Err(TrainError::state(folder, reason))
            }
            _ => Ok(()),
        }
    }
}

fn hashes(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != CONTENTS {
            found.insert(name, hash_of(&entry.path())?);
        }
    }
    Ok(found)
}

fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = open_regular(path)?;
    let mut hasher = Xxh3::new();
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(format!("{:016x}", hasher.digest())),
            read => hasher.update(part.get(..read).unwrap_or_default()),
        }
    }
}
