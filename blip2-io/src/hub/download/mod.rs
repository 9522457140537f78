//! Downloads from the hub, into the cache that Python has too.
//!
//! The requests are made here, over `ureq`: a file's hash is checked before it gets its name, and a
//! token goes to no other host.

mod blob;
mod client;
mod fault;
mod headers;
mod place;
mod token;
mod wanted;

use std::{
    collections::BTreeSet,
    env, fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    cache::HubCache,
    home::{Home, is_offline},
    id::{ModelId, is_commit},
};
use crate::{checkpoint::shards_of, error::IoError, fault::ErrorKind};
use blob::{About, Blob, about};
use client::{Ask, Client, HUB};
use fault::{Fault, Refusal};
use token::Token;
use wanted::Weights;

/// More than any repository's list of files takes.
const LIST: u64 = 32 << 20;

/// How far a download has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownloadEvent<'e> {
    /// The revision is this commit, of which the rest is downloaded whatever becomes of the revision.
    Commit(&'e str),
    /// A file is there as far as `done`.
    File {
        /// Its name.
        name: &'e str,
        /// The bytes that are there.
        done: u64,
        /// The bytes that it has, if the hub says so.
        size: Option<u64>,
    },
    /// A file is there whole, and is what the hub promised.
    Done {
        /// Its name.
        name: &'e str,
    },
}

type Listener = Arc<dyn Fn(DownloadEvent<'_>) + Send + Sync>;

/// A download from the Hugging Face hub: of a model only the files that it needs, into the cache that
/// Python uses too.
///
/// ```no_run
/// use blip2_io::hub::{Download, DownloadEvent};
///
/// let folder = Download::of_environment()
///     .progress(|event| {
///         if let DownloadEvent::Done { name } = event {
///             eprintln!("{name}");
///         }
///     })
///     .fetch(&"Salesforce/blip2-opt-2.7b".parse()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is downloaded before `fetch`"]
pub struct Download {
    client: Client,
    cache: HubCache,
    offline: bool,
    listener: Listener,
}

impl Download {
    /// A download as the environment says: from `HF_ENDPOINT`, else from `huggingface.co`, by the
    /// token of `HF_TOKEN` or of `hf auth login`, into the [cache](HubCache::of_environment); none at
    /// all where `HF_HUB_OFFLINE` says so.
    pub fn of_environment() -> Self {
        let endpoint = env::var("HF_ENDPOINT").ok().filter(|text| !text.is_empty());
        let token = Token::of_environment(&Home::of_process().token);
        Self {
            client: Client::new(endpoint.as_deref().unwrap_or(HUB), token),
            cache: HubCache::of_environment(),
            offline: is_offline(),
            listener: Arc::new(|_| {}),
        }
    }

    /// Downloads from another address, such as a mirror's.
    pub fn endpoint(mut self, address: &str) -> Self {
        self.client = Client::new(address, self.client.token);
        self
    }

    /// Downloads into another cache.
    pub fn cache(mut self, cache: HubCache) -> Self {
        self.cache = cache;
        self
    }

    /// Tells the hub, and nobody else, this token.
    pub fn token(mut self, token: &str) -> Self {
        self.client.token = Token::new(token);
        self
    }

    /// Tells `listener` how far it has come.
    pub fn progress(
        mut self,
        listener: impl Fn(DownloadEvent<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.listener = Arc::new(listener);
        self
    }

    /// Downloads a model, or what of it the cache lacks, and returns its folder there: the
    /// configurations, the tokenizers, and the weights in the best form that there is, `safetensors`
    /// before `.bin`. The revision is asked for first, and what it is then is downloaded; the cache
    /// notes it.
    ///
    /// A download that was cut is taken up where it was, now or by a later call; other processes wait
    /// for one another file by file; a large file whose SHA-256 is not the promised one is not kept.
    ///
    /// # Errors
    ///
    /// [`IoError::Hub`] with the way out: no network, no such model or revision, one that is private or
    /// gated, a spoilt file; [`IoError::Write`] naming the file.
    pub fn fetch(&self, id: &ModelId) -> Result<PathBuf, IoError> {
        if self.offline {
            return Err(IoError::Hub {
                id: id.to_string(),
                reason: "HF_HUB_OFFLINE forbids to ask the hub; unset it to download the model"
                    .into(),
                kind: ErrorKind::NotFound,
            });
        }
        let page = format!("{}/{}", self.client.endpoint, id.name());
        let fetched = self.fetched(id);
        fetched.map_err(|fault| fault.of(id, &page, self.client.token.is_some()))
    }

    fn fetched(&self, id: &ModelId) -> Result<PathBuf, Fault> {
        let Repository { sha, siblings } = self.list(id)?;
        (self.listener)(DownloadEvent::Commit(&sha));
        let files: BTreeSet<String> = siblings.into_iter().map(|file| file.rfilename).collect();
        let model = self.cache.model(id);
        let snapshot = model.join("snapshots").join(&sha);
        let one = |name: &str| self.file(id, &sha, &model, &snapshot, name);
        let weights = wanted::weights(&files).ok_or_else(|| {
            let reason = "it holds no weights that can be read (safetensors or PyTorch's .bin)";
            Fault::Content(reason.to_string())
        })?;
        for name in wanted::small(&files) {
            one(name)?;
        }
        match weights {
            Weights::File(name) => one(name)?,
            Weights::Index(name) => {
                one(name)?;
                for shard in shards(&snapshot.join(name))? {
                    one(&shard)?;
                }
            }
        }
        // Last, so that a revision that the cache knows is whole.
        place::record(&model, id.revision(), &sha)?;
        Ok(snapshot)
    }

    /// What a revision is now, and which files it has.
    fn list(&self, id: &ModelId) -> Result<Repository, Fault> {
        // A slash of the revision is no slash of the address.
        let revision = id.revision().replace('/', "%2F");
        let (endpoint, name) = (&self.client.endpoint, id.name());
        let address = format!("{endpoint}/api/models/{name}/revision/{revision}");
        // Asked once: who has no network should not wait to hear it.
        let response = self.client.ask(&address, Ask::From(0))?;
        if !response.status().is_success() {
            return Err(Refusal::of(response.status(), response.headers()));
        }
        let body = response.into_body().into_with_config().limit(LIST);
        let text = body.read_to_string();
        let text = text.map_err(|error| Fault::Request(error.to_string()))?;
        let found: Repository =
            serde_json::from_str(&text).map_err(|error| Fault::Answer(error.to_string()))?;
        match is_commit(&found.sha) {
            true => Ok(found),
            false => Err(Fault::Answer("it names no commit".into())),
        }
    }

    /// Brings one file into the snapshot, unless it is there.
    fn file(
        &self,
        id: &ModelId,
        sha: &str,
        model: &Path,
        snapshot: &Path,
        name: &str,
    ) -> Result<(), Fault> {
        if !snapshot.join(name).is_file() {
            let address = format!(
                "{}/{}/resolve/{sha}/{name}",
                self.client.endpoint,
                id.name()
            );
            let about = about(&self.client, &address)?;
            check_commit(&about, sha, name)?;
            let size = about.size;
            let blob = Blob {
                client: &self.client,
                address: &address,
                name,
                about: &about,
                folder: &model.join("blobs"),
                locks: &self.cache.path().join(".locks").join(id.folder()),
            };
            let told = |done| (self.listener)(DownloadEvent::File { name, done, size });
            let path = blob.fetch(&told)?;
            place::link(&path, snapshot, name)?;
        }
        (self.listener)(DownloadEvent::Done { name });
        Ok(())
    }
}

/// What was asked for by a commit must be of it.
fn check_commit(about: &About, sha: &str, name: &str) -> Result<(), Fault> {
    match about.commit.as_deref() {
        Some(commit) if commit != sha => Err(Fault::Content(format!(
            "`{name}` came of the commit {commit}, where {sha} was asked for; the hub, or the mirror, is \
             changing: try again later"
        ))),
        _ => Ok(()),
    }
}

fn shards(index: &Path) -> Result<Vec<String>, Fault> {
    let text = fs::read(index).map_err(|error| IoError::read(index, error))?;
    Ok(shards_of(index, &text)?)
}

/// A revision as the hub lists it.
#[derive(Deserialize)]
struct Repository {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("endpoint", &self.client.endpoint)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
