//! A model with none of its adapters, and with each of them.

use std::sync::{Arc, OnceLock};

use blip2_io::Adapter;
use blip2_lm::LanguageModel;

/// The name of an adapter that was given none, as in PEFT.
pub(super) const UNNAMED: &str = "default";

/// A model as one adapter has it, or none. All versions share the tensors in which they do not differ.
#[derive(Clone)]
pub(crate) struct Version<M> {
    pub(super) name: Option<Arc<str>>,
    pub(super) model: M,
    pub(super) draft: Option<Arc<LanguageModel>>,
    pub(super) adapter: Option<Arc<Adapter>>,
    pub(super) fingerprint: Arc<OnceLock<String>>,
}

impl<M> Version<M> {
    /// The model without an adapter.
    pub(super) fn plain(model: M, draft: Option<LanguageModel>) -> Self {
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
pub(crate) struct Versions<M> {
    pub(super) plain: Version<M>,
    adapted: Vec<Version<M>>,
}

impl<M> Versions<M> {
    /// A model without adapters.
    pub(super) fn of(plain: Version<M>) -> Self {
        let adapted = Vec::new();
        Self { plain, adapted }
    }

    pub(super) fn push(&mut self, version: Version<M>) {
        self.adapted.push(version);
    }

    /// The version that is run until another is chosen: with the adapter that was given no name.
    pub(super) fn first(&self) -> &Version<M> {
        self.find(UNNAMED).unwrap_or(&self.plain)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Version<M>> {
        let mut all = self.adapted.iter();
        all.find(|version| version.name.as_deref() == Some(name))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.adapted.iter();
        all.filter_map(|version| version.name.as_deref())
    }
}
