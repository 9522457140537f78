//! A model with none of its adapters, and with each of them.

use std::sync::{Arc, OnceLock};

use blip2_io::Adapter;
use blip2_lm::LanguageModel;

use super::member::{Load, Loaded};
use crate::error::Blip2Error;

/// The name of an adapter that was given none, as in PEFT.
pub(super) const UNNAMED: &str = "default";

/// A model as one adapter has it, or none. All versions share the tensors in which they do not differ.
pub(crate) struct Version<P: Load> {
    pub(super) name: Option<Arc<str>>,
    pub(super) model: P::Model,
    pub(super) draft: Option<Arc<LanguageModel>>,
    pub(super) adapter: Option<Arc<Adapter>>,
    pub(super) fingerprint: Arc<OnceLock<String>>,
}

impl<P: Load> Version<P> {
    /// The model without an adapter.
    pub(super) fn plain(model: P::Model, draft: Option<LanguageModel>) -> Self {
        Self {
            name: None,
            model,
            draft: draft.map(Arc::new),
            adapter: None,
            fingerprint: Arc::default(),
        }
    }

    /// The model with an adapter.
    pub(super) fn adapted(self, NamedAdapter { name, adapter }: &NamedAdapter) -> Self {
        Self {
            name: Some(Arc::clone(name)),
            adapter: Some(Arc::clone(adapter)),
            ..self
        }
    }
}

impl<P: Load> Clone for Version<P> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            model: self.model.clone(),
            draft: self.draft.clone(),
            adapter: self.adapter.clone(),
            fingerprint: Arc::clone(&self.fingerprint),
        }
    }
}

/// An adapter that was opened, and its name.
#[derive(Debug, Clone)]
pub(crate) struct NamedAdapter {
    pub(super) name: Arc<str>,
    pub(super) adapter: Arc<Adapter>,
}

impl NamedAdapter {
    pub(super) fn new(name: &str, adapter: Adapter) -> Self {
        Self {
            name: name.into(),
            adapter: Arc::new(adapter),
        }
    }

    pub(crate) fn adapter(&self) -> &Adapter {
        &self.adapter
    }
}

/// All versions of a model.
pub(crate) struct Versions<P: Load> {
    plain: Version<P>,
    adapted: Vec<Version<P>>,
}

impl<P: Load> Versions<P> {
    /// A model without adapters.
    pub(super) fn of(plain: Version<P>) -> Self {
        let adapted = Vec::new();
        Self { plain, adapted }
    }

    pub(super) fn push(&mut self, version: Version<P>) {
        self.adapted.push(version);
    }

    /// The version that is run until another is chosen: with the adapter that was given no name.
    pub(super) fn first(&self) -> &Version<P> {
        self.find(UNNAMED).unwrap_or(&self.plain)
    }

    fn find(&self, name: &str) -> Option<&Version<P>> {
        let mut all = self.adapted.iter();
        all.find(|version| version.name.as_deref() == Some(name))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.adapted.iter();
        all.filter_map(|version| version.name.as_deref())
    }
}

impl<P: Load> Loaded<P> {
    /// The names of the adapters that it can run with, in the order in which they were given.
    pub(crate) fn adapters(&self) -> impl Iterator<Item = &str> {
        self.versions.names()
    }

    /// The name of the adapter that it runs with.
    pub(crate) fn active_adapter(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The same with another adapter.
    pub(crate) fn with_adapter(&self, name: &str) -> Result<Self, Blip2Error> {
        match self.versions.find(name) {
            Some(version) => Ok(self.as_version(version)),
            None => Err(Blip2Error::UnknownAdapter {
                name: name.to_string(),
                known: self.adapters().map(str::to_string).collect(),
            }),
        }
    }

    /// The same without an adapter.
    pub(crate) fn without_adapter(&self) -> Self {
        self.as_version(&self.versions.plain)
    }

    fn as_version(&self, version: &Version<P>) -> Self {
        let Version {
            name,
            model,
            draft,
            adapter,
            fingerprint,
        } = version.clone();
        Self {
            model,
            draft,
            config: self.config.clone(),
            texts: Arc::clone(&self.texts),
            pictures: Arc::clone(&self.pictures),
            generation: self.generation.clone(),
            device: self.device.clone(),
            precision: self.precision,
            memory: Arc::clone(&self.memory),
            origin: Arc::clone(&self.origin),
            name,
            adapter,
            report: self.report.clone(),
            fingerprint,
            versions: Arc::clone(&self.versions),
        }
    }
}
