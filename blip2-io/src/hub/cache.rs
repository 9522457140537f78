//! What Python, or this library, has downloaded.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    home::Home,
    id::{ModelId, is_commit},
};
use crate::checkpoint::shards_of;

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

    /// The revisions of a model that the cache has: names of branches and tags, and commits that have none.
    pub fn revisions(&self, id: &ModelId) -> Vec<String> {
        let model = self.model(id);
        let folder = |revision: &String| self.find(&id.at(revision).ok()?);
        let mut revisions = names_in(&model.join("refs"));
        let named: Vec<PathBuf> = revisions.iter().filter_map(folder).collect();
        let mut commits = names_in(&model.join("snapshots"));
        commits.retain(|commit| folder(commit).is_some_and(|folder| !named.contains(&folder)));
        revisions.retain(|revision| folder(revision).is_some());
        revisions.extend(commits);
        revisions
    }

    /// The commit that a revision was when it was downloaded, or that it is itself.
    fn commit(&self, id: &ModelId) -> Option<String> {
        let path = self.model(id).join("refs").join(id.revision());
        match fs::read_to_string(path) {
            Ok(text) => Some(text.trim().to_string()).filter(|commit| is_commit(commit)),
            Err(_) => Some(id.revision().to_string()).filter(|commit| is_commit(commit)),
        }
    }

    /// The folder of all revisions of a model.
    pub(crate) fn model(&self, id: &ModelId) -> PathBuf {
        self.path.join(id.folder())
    }
}

/// The names in a folder, sorted; none where there is no such folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
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
