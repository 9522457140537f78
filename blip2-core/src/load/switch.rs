//! A loaded model with another of its adapters.

use std::sync::Arc;

use super::{
    member::{Load, Loaded},
    versions::Version,
};
use crate::error::Blip2Error;

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

    fn as_version(&self, version: &Version<P::Model>) -> Self {
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
