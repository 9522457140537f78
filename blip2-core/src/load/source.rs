//! Where a model comes from: a folder, by its path or opened already, or a configuration alone.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use blip2_io::{Adapter, CheckpointFolder, CheckpointWeights, LoadReport};
use blip2_kernels::{TensorRequest, WeightObserver, WeightSource, Weights};
use blip2_lm::LanguageModel;
use burn::tensor::Device;

use super::{
    adapted::Adapted,
    member::{FolderConfig, Load},
    opened::{Opened, Origin},
    settings::Settings,
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
    /// Opens it, with the adapter of a folder, or with the one that its own folder is.
    pub(super) fn open<P: Load<Config = C>>(
        self,
        device: Device,
        settings: &Settings,
    ) -> Result<Opened<C>, Blip2Error> {
        let adapter = settings.adapter.clone().map(arrived).transpose()?;
        let mut adapter = adapter.map(Adapter::open).transpose()?;
        let open = |path| match settings.copied {
            true => CheckpointFolder::open_copied(path),
            false => CheckpointFolder::open(path),
        };
        let folder = match self {
            Self::Path(path) => {
                let path = arrived(path)?;
                match adapter.is_none() && Adapter::is_alone(&path) {
                    true => {
                        let alone = adapter.insert(Adapter::open(path)?);
                        open(alone.base()?)?
                    }
                    false => open(path)?,
                }
            }
            Self::Folder(folder) => folder,
            Self::Random(config, seed) => {
                let (folder, weights) = P::random(&config, seed)?;
                return Ok(Opened {
                    folder,
                    config: *config,
                    origin: Origin::Random { seed, weights },
                    adapter,
                    device,
                });
            }
        };
        family::expect(&folder, P::KINDS)?;
        Ok(Opened {
            config: C::read(&folder)?,
            origin: Origin::Checkpoint(folder.checkpoint()?),
            adapter,
            folder,
            device,
        })
    }
}

impl<C> Opened<C> {
    /// Reads the weights and builds the model, and says what there was beside what it wanted.
    ///
    /// Never a model with holes: a load that was cancelled, and one that missed a tensor, is an
    /// error.
    pub(super) fn load<P: Load<Config = C>>(
        &self,
        settings: &Settings,
    ) -> Result<(P::Model, Option<LanguageModel>, LoadReport), Blip2Error> {
        match &self.origin {
            Origin::Checkpoint(checkpoint) => {
                let source = CheckpointWeights::new(checkpoint);
                let adapted = self.adapted(&source)?;
                let (model, draft) = self.build::<P>(&source, adapted.as_ref(), settings)?;
                let mut report = source.finish(P::IGNORABLE.unwrap_or_default())?;
                if let Some(adapted) = &adapted {
                    report = finished::<P>(adapted, report)?;
                }
                if P::IGNORABLE.is_none() {
                    // Of the whole model's folder most is not for a part of it.
                    report.unused.clear();
                }
                Ok((whole(model)?, draft.map(whole).transpose()?, report))
            }
            Origin::Random { weights, .. } => {
                let adapted = self.adapted(weights)?;
                let (model, draft) = self.build::<P>(weights, adapted.as_ref(), settings)?;
                if let Some(adapted) = &adapted {
                    finished::<P>(adapted, LoadReport::default())?;
                }
                let draft = draft.map(whole).transpose()?;
                Ok((whole(model)?, draft, LoadReport::default()))
            }
        }
    }

    /// The adapter on the weights, if there is one.
    fn adapted<'s>(
        &'s self,
        source: &'s dyn WeightSource,
    ) -> Result<Option<Adapted<'s>>, Blip2Error> {
        let adapter = self.adapter.as_ref();
        adapter
            .map(|adapter| Adapted::new(adapter, source))
            .transpose()
    }

    fn build<P: Load<Config = C>>(
        &self,
        source: &dyn WeightSource,
        adapted: Option<&Adapted<'_>>,
        settings: &Settings,
    ) -> Result<(P::Model, Option<LanguageModel>), Blip2Error> {
        let source = adapted.map_or(source, |adapted| adapted as &dyn WeightSource);
        let observer = adapted.map_or(&() as &dyn WeightObserver, |adapted| adapted);
        let build = |source: &dyn WeightSource, observer: &dyn WeightObserver| {
            let weights = Weights::new(source, &self.device);
            let weights = weights.observed_by(observer);
            let model = P::build_model(&self.config, &weights, settings.precision)?;
            let draft = match settings.speculative {
                true => P::build_draft(&self.config, &weights)?,
                false => None,
            };
            Ok((model, draft))
        };
        let mut watched = Watched::new(source, &settings.cancel);
        watched.finish()?;
        if let Some(listener) = &settings.listener {
            let count = |source: &dyn WeightSource| build(source, &());
            watched = watched.telling(listener, self.tensors(source, count)?);
        }
        let built = build(&watched, observer)?;
        watched.finish()?;
        Ok(built)
    }

    /// The tensors that a model asks for, with the bytes that they take in their files.
    fn tensors<M>(
        &self,
        source: &dyn WeightSource,
        build: impl Fn(&dyn WeightSource) -> Result<M, Blip2Error>,
    ) -> Result<BTreeMap<String, u64>, Blip2Error> {
        let bytes = |request: &TensorRequest<'_>| self.origin.bytes(request);
        let asked = Asked::new(source, &bytes);
        build(&asked)?;
        Ok(asked.into_tensors())
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

/// Refuses an adapter that the model did not take whole; else the base's report without what the
/// adapter took the place of.
fn finished<P: Load>(adapted: &Adapted<'_>, report: LoadReport) -> Result<LoadReport, Blip2Error> {
    adapted.finish(P::IGNORABLE.is_some(), P::IGNORABLE.unwrap_or_default())?;
    Ok(adapted.without_replaced(report))
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
