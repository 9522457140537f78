//! What loading needs to know of each member of the family, and what a loaded model has.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use blip2_io::{
    Adapter, CheckpointFolder, LoadReport,
    config::{Blip2Config, BlipConfig, ModelKind},
};
use blip2_kernels::{RandomWeights, Weights};
use blip2_lm::{LanguageModel, generate::GenerationConfig};
use burn::{module::Module, tensor::Device};

use super::{
    opened::{Opened, Origin},
    settings::{Settings, Takes},
    versions::Versions,
};
use crate::{error::Blip2Error, precision::PrecisionPlan};

/// A type that a checkpoint is opened as: [`Blip2Pipeline`](crate::Blip2Pipeline),
/// [`Blip2Retrieval`](crate::Blip2Retrieval), [`ImageEmbedder`](crate::ImageEmbedder),
/// [`TextEmbedder`](crate::TextEmbedder), [`BlipAnswerer`](crate::BlipAnswerer),
/// [`BlipCaptioner`](crate::BlipCaptioner) or [`BlipRetrieval`](crate::BlipRetrieval). For functions
/// that load any of them, or with the feature `speech` a `SpeechPipeline`, by its [`Builder`](crate::Builder).
///
/// ```
/// use blip2_core::{Blip2Error, Blip2Pipeline, Blip2Retrieval, Builder, Member};
///
/// /// Loads any of them as this program does.
/// fn load<P: Member>(builder: Builder<P>) -> Result<P, Blip2Error> {
///     builder.progress(|progress| eprintln!("{progress}")).load()
/// }
///
/// let answering = load(Blip2Pipeline::builder("../blip2-cli/demo"))?;
/// let comparing = load(Blip2Retrieval::builder("../fixtures/blip2_itr"))?;
/// # let _ = (answering, comparing);
/// # Ok::<(), Blip2Error>(())
/// ```
pub trait Member: Load {}

impl<P: Load> Member for P {}

/// What a folder's `config.json` is read as.
#[doc(hidden)]
pub trait FolderConfig: Clone + Send + Sync {
    fn read(folder: &CheckpointFolder) -> Result<Self, Blip2Error>;
}

impl FolderConfig for Blip2Config {
    fn read(folder: &CheckpointFolder) -> Result<Self, Blip2Error> {
        Ok(folder.config()?)
    }
}

impl FolderConfig for BlipConfig {
    fn read(folder: &CheckpointFolder) -> Result<Self, Blip2Error> {
        Ok(folder.blip_config()?)
    }
}

/// A member as a handle to what its clones share.
#[doc(hidden)]
pub trait Handle: Sized + Clone + Send + Sync + 'static {
    fn of(loaded: Loaded<Self>) -> Self
    where
        Self: Load;

    fn loaded(&self) -> &Loaded<Self>
    where
        Self: Load;
}

/// The parts of a member, and how each is read.
#[doc(hidden)]
pub trait Load: Handle {
    /// What `config.json` says.
    type Config: FolderConfig;
    /// The model on tensors.
    type Model: Module;
    /// How it reads and writes text.
    type Texts: Send + Sync;
    /// How it reads pictures.
    type Pictures: Send + Sync;
    /// What it may take; `()` where that is not predicted.
    type Memory: Send + Sync;

    /// Its own name, for debugging.
    const NAME: &'static str;
    /// The kinds of folders that it opens; the first is the one that it is named after.
    const KINDS: &'static [ModelKind];
    /// The settings that it takes.
    const TAKES: Takes;
    /// What its checkpoints hold without being read; `None` if it reads a part of the folder only.
    const IGNORABLE: Option<&'static [&'static str]>;

    /// Builds the model, perhaps with holes where `weights` gave nothing.
    fn build_model(
        config: &Self::Config,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self::Model, Blip2Error>;

    /// Builds the narrow language model that writes ahead, of a member that takes one.
    fn build_draft(
        _config: &Self::Config,
        _weights: &Weights<'_>,
    ) -> Result<Option<LanguageModel>, Blip2Error> {
        Ok(None)
    }

    /// The adapter that the checkpoint itself brings, if it brings one; it is put on where the caller gives
    /// none.
    fn own_adapter(
        _folder: &CheckpointFolder,
        _config: &Self::Config,
    ) -> Result<Option<Adapter>, Blip2Error> {
        Ok(None)
    }

    fn read_texts(
        folder: &CheckpointFolder,
        config: &Self::Config,
        settings: &Settings,
    ) -> Result<Self::Texts, Blip2Error>;

    fn read_pictures(
        folder: &CheckpointFolder,
        config: &Self::Config,
        settings: &Settings,
    ) -> Result<Self::Pictures, Blip2Error>;

    /// The arguments of calls that have none of their own, where the builder was given none either.
    fn usual_generation() -> GenerationConfig {
        GenerationConfig::default()
    }

    /// Completes the arguments of calls that have none of their own by what the checkpoint says.
    fn complete(
        _folder: &CheckpointFolder,
        _config: &Self::Config,
        _generation: &mut GenerationConfig,
    ) -> Result<(), Blip2Error> {
        Ok(())
    }

    /// What it may take; refuses a model that would not fit unless that is `given` already.
    fn memory(
        opened: &Opened<Self::Config>,
        settings: &Settings,
        pictures: &Self::Pictures,
        given: bool,
    ) -> Result<Self::Memory, Blip2Error>;

    /// The small files and the weights of a model of random numbers.
    fn random(
        _config: &Self::Config,
        _seed: u64,
    ) -> Result<(CheckpointFolder, RandomWeights), Blip2Error> {
        Err(Blip2Error::Incomplete {
            what: format!("there is no random {}", Self::NAME),
            remedy: "load a checkpoint folder".into(),
        })
    }
}

/// Everything that a handle shares with its clones.
pub struct Loaded<P: Load> {
    pub(crate) model: P::Model,
    /// What writes ahead of the language model, if that was asked for.
    pub(crate) draft: Option<Arc<LanguageModel>>,
    pub(crate) config: P::Config,
    pub(crate) texts: Arc<P::Texts>,
    pub(crate) pictures: Arc<P::Pictures>,
    /// The arguments of calls that have none of their own.
    pub(crate) generation: GenerationConfig,
    pub(crate) device: Device,
    pub(crate) precision: PrecisionPlan,
    pub(crate) memory: Arc<P::Memory>,
    pub(crate) origin: Arc<Origin>,
    /// The name of the adapter, if there is one.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) adapter: Option<Arc<Adapter>>,
    pub(crate) report: LoadReport,
    pub(crate) fingerprint: Arc<OnceLock<String>>,
    pub(crate) versions: Arc<Versions<P::Model>>,
}

impl<P: Load> Loaded<P> {
    /// A hash of the tensors whose names start with one of `prefixes`, of what an adapter makes of
    /// them, and of `extra`.
    pub(crate) fn hash(&self, prefixes: &[&str], extra: &str) -> String {
        let adapter = self.adapter.as_ref();
        match adapter.and_then(|adapter| adapter.fingerprint(prefixes)) {
            Some(adapter) => self
                .origin
                .fingerprint(prefixes, &format!("{extra} {adapter}")),
            None => self.origin.fingerprint(prefixes, extra),
        }
    }
}

impl<P: Load> fmt::Debug for Loaded<P> {
    /// What it is, where it came from and where it runs, never its weights.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(P::NAME)
            .field("origin", &self.origin)
            .field("device", &self.device)
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}
