//! Where a model comes from: a folder, by its path or opened already, or a configuration alone.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use blip2_io::{CheckpointFolder, CheckpointWeights, LoadReport};
use blip2_kernels::{TensorRequest, WeightSource, Weights};
use burn::tensor::Device;

use super::{
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
    pub(super) fn open<P: Load<Config = C>>(
        self,
        device: Device,
        copied: bool,
    ) -> Result<Opened<C>, Blip2Error> {
        let folder = match self {
            Self::Path(path) if copied => CheckpointFolder::open_copied(path)?,
            Self::Path(path) => CheckpointFolder::open(path)?,
            Self::Folder(folder) => folder,
            Self::Random(config, seed) => {
                let (folder, weights) = P::random(&config, seed)?;
                return Ok(Opened {
                    folder,
                    config: *config,
                    origin: Origin::Random { seed, weights },
                    device,
                });
            }
        };
        family::expect(&folder, P::KINDS)?;
        Ok(Opened {
            config: C::read(&folder)?,
            origin: Origin::Checkpoint(folder.checkpoint()?),
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
    ) -> Result<(P::Model, LoadReport), Blip2Error> {
        match &self.origin {
            Origin::Checkpoint(checkpoint) => {
                let source = CheckpointWeights::new(checkpoint);
                let model = self.build::<P>(&source, settings)?;
                let mut report = source.finish(P::IGNORABLE.unwrap_or_default())?;
                if P::IGNORABLE.is_none() {
                    // Of the whole model's folder most is not for a part of it.
                    report.unused.clear();
                }
                Ok((whole(model)?, report))
            }
            Origin::Random { weights, .. } => {
                let model = self.build::<P>(weights, settings)?;
                Ok((whole(model)?, LoadReport::default()))
            }
        }
    }

    fn build<P: Load<Config = C>>(
        &self,
        source: &dyn WeightSource,
        settings: &Settings,
    ) -> Result<P::Model, Blip2Error> {
        let build = |source: &dyn WeightSource| {
            let weights = Weights::new(source, &self.device);
            P::build_model(&self.config, &weights, settings.precision)
        };
        let mut watched = Watched::new(source, &settings.cancel);
        watched.finish()?;
        if let Some(listener) = &settings.listener {
            watched = watched.telling(listener, self.tensors(source, build)?);
        }
        let model = build(&watched)?;
        watched.finish()?;
        Ok(model)
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

impl<C> fmt::Debug for Source<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => fmt::Debug::fmt(path, f),
            Self::Folder(folder) => fmt::Debug::fmt(folder, f),
            Self::Random(_, seed) => write!(f, "random weights of seed {seed}"),
        }
    }
}
