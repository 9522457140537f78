//! What Python, or this library, has downloaded.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{
    home::Home,
    id::{ModelId, is_commit},
};
use crate::{checkpoint::shards_of, config::ModelKind, error::IoError, folder::CheckpointFolder};

/// The folder in which Python's `huggingface_hub` keeps models, and this library too:
/// `models--owner--name` with `refs`, `blobs` and `snapshots`.
///
/// ```no_run
/// use blip2_io::hub::HubCache;
///
/// let cache = HubCache::of_environment();
/// if let Some(folder) = cache.find(&"Salesforce/blip2-opt-2.7b".parse()?) {
///     println!("{}", folder.display());
/// }
/// # Ok::<(), blip2_io::hub::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    path: PathBuf,
}

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

impl HubCache {
    /// The cache that the environment says, by the rules of Python's `huggingface_hub`:
    /// `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`, which is `huggingface`
    /// in `XDG_CACHE_HOME` or in `~/.cache`.
    pub fn of_environment() -> Self {
        Self::at(Home::of_process().cache)
    }

    /// A cache in another folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a model, if the cache has its revision: nothing is downloaded, and nothing is
    /// asked. Its files may be incomplete.
    pub fn find(&self, id: &ModelId) -> Option<PathBuf> {
        let snapshots = self.model(id).join("snapshots");
        let folder = snapshots.join(self.commit(id)?);
        let holds = |file: &str| folder.join(file).is_file();
        (holds("config.json") || holds("adapter_config.json")).then_some(folder)
    }

    /// As [`find`](Self::find), if what is there can be run: the configuration, and all of its weights.
    pub fn find_whole(&self, id: &ModelId) -> Option<PathBuf> {
        self.find(id).filter(|folder| has_weights(folder))
    }

    /// The commit that a revision was when it was downloaded, or that it is itself.
    fn commit(&self, id: &ModelId) -> Option<String> {
        let path = self.model(id).join("refs").join(id.revision());
        match fs::read_to_string(path) {
            Ok(text) => Some(text.trim().to_string()).filter(|commit| is_commit(commit)),
            Err(_) => Some(id.revision().to_string()).filter(|commit| is_commit(commit)),
        }
    }

    pub(super) fn model(&self, id: &ModelId) -> PathBuf {
        self.path.join(id.folder())
    }

    /// The models in the cache, by id, each in its newest revision. A cache that is not there has
    /// none.
    ///
    /// # Errors
    ///
    /// [`IoError::Read`] if the cache cannot be read.
    pub fn models(&self) -> Result<Vec<CachedModel>, IoError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(IoError::read(&self.path, error)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids: BTreeSet<ModelId> = names.filter_map(|name| ModelId::of_folder(&name)).collect();
        Ok(ids.into_iter().filter_map(|id| self.cached(id)).collect())
    }

    fn cached(&self, id: ModelId) -> Option<CachedModel> {
        let model = self.model(&id);
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
}

/// Whether a folder holds weights in one of their forms, with all shards that an index names.
fn has_weights(folder: &Path) -> bool {
    const FILES: [&str; 4] = [
        "model.safetensors",
        "pytorch_model.bin",
        "adapter_model.safetensors",
        "adapter_model.bin",
    ];
    const INDICES: [&str; 2] = [
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
    ];
    let holds = |file: &str| folder.join(file).is_file();
    let whole = |index: &str| {
        let path = folder.join(index);
        let shards = fs::read(&path)
            .ok()
            .and_then(|text| shards_of(&path, &text).ok());
        shards.is_some_and(|shards| shards.iter().all(|shard| holds(shard)))
    };
    FILES.into_iter().any(holds) || INDICES.into_iter().any(whole)
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
