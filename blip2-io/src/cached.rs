//! The models in the cache of the hub, with what they are.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    config::ModelKind,
    error::IoError,
    folder::CheckpointFolder,
    hub::{HubCache, ModelId, is_commit},
};

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedModel {
    /// Its id.
    pub id: ModelId,
    /// The folder of its newest revision, as the cache knows it.
    pub folder: PathBuf,
    /// The commit of that revision.
    pub commit: String,
    /// The branches and tags that the cache knows to be that commit.
    pub refs: Vec<String>,
    /// What it is; `None` for a model of another family.
    pub kind: Option<ModelKind>,
    /// Whether it is an adapter that PEFT saved.
    pub is_adapter: bool,
    /// The bytes of the files of that revision.
    pub bytes: u64,
}

/// The models in the cache, by id, each in its newest revision. A cache that is not there has
/// none.
///
/// # Errors
///
/// [`IoError::Read`] if the cache cannot be read.
pub fn cached_models(cache: &HubCache) -> Result<Vec<CachedModel>, IoError> {
    let entries = match fs::read_dir(cache.path()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(IoError::read(cache.path(), error)),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let ids: BTreeSet<ModelId> = names.filter_map(|name| ModelId::of_folder(&name)).collect();
    Ok(ids.into_iter().filter_map(|id| cached(cache, id)).collect())
}

fn cached(cache: &HubCache, id: ModelId) -> Option<CachedModel> {
    let model = cache.model(&id);
    let refs = refs(&model.join("refs"), "");
    // What `main` is, or else what was written last.
    let main = refs.iter().find(|(name, _)| name == id.revision());
    let commit = match main {
        Some((_, commit)) => commit.clone(),
        None => newest(&model.join("snapshots"))?,
    };
    let folder = model.join("snapshots").join(&commit);
    let opened = CheckpointFolder::open(&folder).ok()?;
    Some(CachedModel {
        kind: opened.kind().ok(),
        is_adapter: folder.join("adapter_config.json").is_file(),
        bytes: bytes(&folder),
        refs: refs
            .into_iter()
            .filter(|(_, other)| *other == commit)
            .map(|(name, _)| name)
            .collect(),
        id,
        folder,
        commit,
    })
}

/// The names and commits below `refs`, which may lie in folders of their own (`refs/pr/1`).
fn refs(folder: &Path, prefix: &str) -> Vec<(String, String)> {
    const DEEPEST: usize = 4;
    let mut found = Vec::new();
    let depth = prefix.matches('/').count();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let name = format!("{prefix}{name}");
        let path = entry.path();
        if path.is_dir() && depth < DEEPEST {
            found.extend(refs(&path, &format!("{name}/")));
        } else if let Ok(text) = fs::read_to_string(&path)
            && is_commit(text.trim())
        {
            found.push((name, text.trim().to_string()));
        }
    }
    found.sort();
    found
}

/// The snapshot that was written last.
fn newest(snapshots: &Path) -> Option<String> {
    let entries = fs::read_dir(snapshots).ok()?.flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let time = entry.metadata().ok()?.modified().ok()?;
        is_commit(&name).then_some((time, name))
    });
    named.max().map(|(_, name)| name)
}

/// The bytes of the files in a folder and in the folders in it.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes(&entry.path()),
        // Through the link into `blobs`.
        _ => fs::metadata(entry.path()).map_or(0, |file| file.len()),
    });
    sizes.sum()
}
