//! Where a model comes from: a folder, by its path or opened already, or a configuration alone.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use blip2_io::{Adapter, CheckpointFolder, CheckpointWeights, IoError, LoadReport};
use blip2_kernels::{
    RandomWeights, SharedWeights, TensorRequest, WeightObserver, WeightSource, Weights,
};
use blip2_lm::LanguageModel;
use burn::tensor::Device;

use super::{
    adapted::Adapted,
    member::{FolderConfig, Load},
    opened::{Opened, Origin},
    settings::Settings,
    versions::{NamedAdapter, UNNAMED, Version, Versions},
    watched::{Asked, Watched},
};
use crate::{error::Blip2Error, family, whole::whole};

/// Where everything comes from.
#[derive(Clone)]
pub(super) enum Source<C> {
    Path(PathBuf),
    Folder(CheckpointFolder),
    Random(Box<C>, u64),
}

impl<C: FolderConfig> Source<C> {
    /// Opens it, with its adapters, or with the one that its own folder is.
    pub(super) fn open<P: Load<Config = C>>(
        self,
        device: Device,
        settings: &Settings,
    ) -> Result<Opened<C>, Blip2Error> {
        let mut adapters = adapters(settings)?;
        let open = |path| match settings.copied {
            true => CheckpointFolder::open_copied(path),
            false => CheckpointFolder::open(path),
        };
        let folder = match self {
            Self::Path(path) => {
                let path = arrived(path)?;
                match settings.adapter.is_none() && Adapter::is_alone(&path) {
                    true => {
                        let alone = Adapter::open(path)?;
                        let base = open(alone.base()?)?;
                        adapters.insert(0, NamedAdapter::new(UNNAMED, alone));
                        base
                    }
                    false => open(path)?,
                }
            }
            Self::Folder(folder) => folder,
            Self::Random(config, seed) => {
                let (folder, weights) = P::random(&config, seed)?;
                check_names(&adapters)?;
                return Ok(Opened {
                    folder,
                    config: *config,
                    origin: Origin::Random { seed, weights },
                    adapters,
                    device,
                });
            }
        };
        family::expect(&folder, P::KINDS)?;
        let config = C::read(&folder)?;
        let unnamed = |named: &NamedAdapter| &*named.name == UNNAMED;
        if !adapters.iter().any(unnamed)
            && let Some(adapter) = P::own_adapter(&folder, &config)?
        {
            adapters.insert(0, NamedAdapter::new(UNNAMED, adapter));
        }
        check_names(&adapters)?;
        Ok(Opened {
            config,
            origin: Origin::Checkpoint(folder.checkpoint()?),
            adapters,
            folder,
            device,
        })
    }
}

/// The adapters of the settings.
fn adapters(settings: &Settings) -> Result<Vec<NamedAdapter>, Blip2Error> {
    let unnamed = settings.adapter.iter().map(|folder| (UNNAMED, folder));
    let named = settings.named_adapters.iter();
    let all = unnamed.chain(named.map(|(name, folder)| (name.as_str(), folder)));
    let open = |(name, folder): (&str, &PathBuf)| {
        let adapter = Adapter::open(arrived(folder.clone())?)?;
        Ok(NamedAdapter::new(name, adapter))
    };
    all.map(open).collect()
}

/// Refuses names that could not be told apart.
fn check_names(adapters: &[NamedAdapter]) -> Result<(), Blip2Error> {
    for (place, NamedAdapter { name, .. }) in adapters.iter().enumerate() {
        let before = adapters.iter().take(place);
        let reason = if name.trim().is_empty() {
            "it is empty"
        } else if before.into_iter().any(|other| other.name == *name) {
            "two adapters have it"
        } else {
            continue;
        };
        return Err(Blip2Error::AdapterName {
            name: name.to_string(),
            reason,
        });
    }
    Ok(())
}

impl<C> Opened<C> {
    /// Reads the weights and builds the model, and itself with each adapter, and says what there was
    /// beside what it wanted.
    ///
    /// Never a model with holes: a load that was cancelled, and one that missed a tensor, is an
    /// error.
    pub(super) fn load<P: Load<Config = C>>(
        &self,
        settings: &Settings,
    ) -> Result<(Versions<P::Model>, LoadReport), Blip2Error> {
        let shared = SharedWeights::new();
        for named in &self.adapters {
            self.check::<P>(&named.adapter, settings)?;
        }
        let (plain, mut report) = self.version::<P>(None, &shared, settings)?;
        if P::IGNORABLE.is_none() {
            // Of the whole model's folder most is not for a part of it.
            report.unused.clear();
        }
        let mut versions = Versions::of(plain);
        for named in &self.adapters {
            let (version, _) = self.version::<P>(Some(&named.adapter), &shared, settings)?;
            versions.push(version.adapted(named));
        }
        Ok((versions, report))
    }

    /// Refuses an adapter that does not go with the model, before the model is read for minutes.
    fn check<P: Load<Config = C>>(
        &self,
        adapter: &Adapter,
        settings: &Settings,
    ) -> Result<(), Blip2Error> {
        let source = self.source();
        let bytes = |_: &TensorRequest<'_>| 0;
        let asked = Asked::new(source.get(), &bytes);
        let adapted = Adapted::new(adapter, &asked)?;
        self.build::<P>(
            &Weights::new(&adapted, &self.device).observed_by(&adapted),
            settings,
        )?;
        finished::<P>(&adapted)
    }

    /// The model with an adapter, or with none; what a version before it holds is not read again.
    fn version<P: Load<Config = C>>(
        &self,
        adapter: Option<&Adapter>,
        shared: &SharedWeights,
        settings: &Settings,
    ) -> Result<(Version<P::Model>, LoadReport), Blip2Error> {
        let source = self.source();
        let adapted = adapter.map(|adapter| Adapted::new(adapter, source.get()));
        let adapted = adapted.transpose()?;
        let (model, draft) = self.watched::<P>(source.get(), adapted.as_ref(), shared, settings)?;
        let report = source.finish(P::IGNORABLE.unwrap_or_default())?;
        if let Some(adapted) = &adapted {
            finished::<P>(adapted)?;
        }
        let draft = draft.map(whole).transpose()?;
        Ok((Version::plain(whole(model)?, draft), report))
    }

    /// Builds a version; that without an adapter, which reads the most, tells how far it has come.
    fn watched<P: Load<Config = C>>(
        &self,
        source: &dyn WeightSource,
        adapted: Option<&Adapted<'_>>,
        shared: &SharedWeights,
        settings: &Settings,
    ) -> Result<(P::Model, Option<LanguageModel>), Blip2Error> {
        let own = |name: &str| adapted.is_some_and(|adapted| adapted.changes(name));
        let observer = adapted.map_or(&() as &dyn WeightObserver, |adapted| adapted);
        let source = adapted.map_or(source, |adapted| adapted as &dyn WeightSource);
        let mut watched = Watched::new(source, &settings.cancel);
        watched.finish()?;
        if let (Some(listener), None) = (&settings.listener, adapted) {
            watched = watched.telling(listener, self.tensors::<P>(source, settings)?);
        }
        let weights = Weights::new(&watched, &self.device).observed_by(observer);
        let built = self.build::<P>(&weights.sharing(shared, &own), settings)?;
        watched.finish()?;
        Ok(built)
    }

    fn build<P: Load<Config = C>>(
        &self,
        weights: &Weights<'_>,
        settings: &Settings,
    ) -> Result<(P::Model, Option<LanguageModel>), Blip2Error> {
        let model = P::build_model(&self.config, weights, settings.precision)?;
        let draft = match settings.speculative {
            true => P::build_draft(&self.config, weights)?,
            false => None,
        };
        Ok((model, draft))
    }

    /// The tensors that a model asks for, with the bytes that they take in their files.
    fn tensors<P: Load<Config = C>>(
        &self,
        source: &dyn WeightSource,
        settings: &Settings,
    ) -> Result<BTreeMap<String, u64>, Blip2Error> {
        let bytes = |request: &TensorRequest<'_>| self.origin.bytes(request);
        let asked = Asked::new(source, &bytes);
        self.build::<P>(&Weights::new(&asked, &self.device), settings)?;
        Ok(asked.into_tensors())
    }

    fn source(&self) -> Numbers<'_> {
        match &self.origin {
            Origin::Checkpoint(checkpoint) => Numbers::Stored(CheckpointWeights::new(checkpoint)),
            Origin::Random { weights, .. } => Numbers::Random(weights),
        }
    }
}

/// What answers with the numbers of one version.
enum Numbers<'o> {
    Stored(CheckpointWeights<'o>),
    Random(&'o RandomWeights),
}

impl Numbers<'_> {
    fn get(&self) -> &dyn WeightSource {
        match self {
            Self::Stored(weights) => weights,
            Self::Random(weights) => *weights,
        }
    }

    /// Whether there was all that was asked for, and what there was beside it.
    fn finish(&self, ignorable: &[&str]) -> Result<LoadReport, IoError> {
        match self {
            Self::Stored(weights) => weights.finish(ignorable),
            Self::Random(_) => Ok(LoadReport::default()),
        }
    }
}

/// A path as it is; in a build with the feature `hub`, an id that stands for no folder is downloaded,
/// unless the cache has the model.
#[cfg(feature = "hub")]
fn arrived(path: PathBuf) -> Result<PathBuf, Blip2Error> {
    use blip2_io::hub::{Download, HubCache, ModelId, is_offline};

    let Some(id) = ModelId::to_download(&path).filter(|_| !is_offline()) else {
        return Ok(path);
    };
    if let Some(folder) = HubCache::of_environment().find_whole(&id) {
        return Ok(folder);
    }
    tracing::info!(%id, "downloading the model");
    Ok(Download::of_environment().fetch(&id)?)
}

#[cfg(not(feature = "hub"))]
fn arrived(path: PathBuf) -> Result<PathBuf, Blip2Error> {
    Ok(path)
}

/// Refuses an adapter that the model did not take whole.
fn finished<P: Load>(adapted: &Adapted<'_>) -> Result<(), Blip2Error> {
    adapted.finish(P::IGNORABLE.is_some(), P::IGNORABLE.unwrap_or_default())
}

impl<C> fmt::Debug for Source<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => fmt::Debug::fmt(path, f),
            Self::Folder(folder) => fmt::Debug::fmt(folder, f),
            Self::Random(_, seed) => write!(f, "random weights of seed {seed}"),
        }
    }
}
