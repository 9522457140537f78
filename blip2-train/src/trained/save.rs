//! What a trained model leaves on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use blip2_core::{Checkpoint, config::Blip2Config};
use blip2_io::{Adapter, check_folders_apart};
use burn::module::Module;

use super::{Trained, parameters::Values};
use crate::{
    checkpoint,
    error::TrainError,
    fresh::is_head,
    lora::{file, whole_modules},
    names::within,
};

impl<M: Module> Trained<M> {
    /// Writes the adapters, and what was trained whole beside them, as PEFT does (`modules_to_save`), to be
    /// loaded by it, by `adapter` of this workspace's builders, or by [`Lora::load`](crate::Lora::load).
    ///
    /// PEFT itself puts modules on: a parameter that stands in none, such as a Q-Former's `query_tokens`,
    /// and a layer that was trained whole beside an adapter of its own, are written for this workspace
    /// alone; the first stage's head is in none; see [`beyond_peft`](Self::beyond_peft).
    ///
    /// # Errors
    ///
    /// [`TrainError::NothingTrains`] if there are none, and if a file cannot be written.
    pub fn save_lora(&self, folder: impl AsRef<Path>) -> Result<(), TrainError> {
        let Some(chosen) = &self.lora else {
            let reason = "the model has no adapters to save".into();
            return Err(TrainError::NothingTrains { reason });
        };
        let folder = folder.as_ref();
        if !self.source.as_os_str().is_empty() {
            check_folders_apart(folder, &self.source)?;
        }
        // Opened from another folder, a relative path would lead elsewhere.
        let base = match self.source.exists() {
            true => std::path::absolute(&self.source).unwrap_or_else(|_| self.source.clone()),
            false => self.source.clone(),
        };
        let base = base.display().to_string();
        let mut values = self.values();
        values.retain(|name, _| !is_head(name));
        for (copy, original) in self.copies() {
            if let Some(data) = values.get(&original) {
                values.insert(copy, data.clone());
            }
        }
        let all: Vec<&str> = self.names.layers().collect();
        file::save(folder, chosen, &all, &values, &self.whole_modules(), &base)
    }

    /// The copies of what was trained whole that the model holds as one with it, and PEFT apart, each with what
    /// it is a copy of.
    fn copies(&self) -> Vec<(String, String)> {
        let is_own = |name: &String| self.names.iter().any(|named| named.name == *name);
        let whole = self.trained.iter().filter(|name| !name.contains(".lora_"));
        let copies = whole.flat_map(|name| {
            let copies = Adapter::copies(name).filter(|copy| !is_own(copy));
            copies.map(|copy| (copy, name.clone()))
        });
        copies.collect()
    }

    /// What was trained whole and PEFT cannot put on, by name; see [`save_lora`](Self::save_lora).
    pub fn beyond_peft(&self) -> impl Iterator<Item = &str> {
        let modules = self.whole_modules();
        let whole = self.parameters().filter(|named| !named.is_lora());
        let covered = move |name: &str| modules.iter().any(|module| within(module, name).is_some());
        whole
            .map(|named| named.name.as_str())
            .filter(move |name| !covered(name))
    }

    /// The modules that were trained whole.
    fn whole_modules(&self) -> Vec<String> {
        let whole = |name: &str| {
            let is_lora = name.contains(".lora_");
            self.trained.contains(name) && !is_lora && !is_head(name)
        };
        let matrices = self.names.layers().map(|layer| format!("{layer}.weight"));
        let matrices: Vec<String> = matrices.collect();
        let all = self.names.iter().map(|named| named.name.as_str());
        let all = all.chain(matrices.iter().map(String::as_str));
        let (mut trained, others): (BTreeSet<&str>, BTreeSet<&str>) =
            all.partition(|name| whole(name));
        let copies = self.copies();
        trained.extend(copies.iter().map(|(copy, _)| copy.as_str()));
        whole_modules(&trained, &others)
    }

    /// Writes the weights and the configuration of a model that was trained from scratch; its
    /// tokenizer and its processor are for its maker to put beside them.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub fn save_fresh(
        &self,
        config: &Blip2Config,
        folder: impl AsRef<Path>,
    ) -> Result<(), TrainError> {
        let folder = folder.as_ref();
        let all: BTreeSet<String> = self.names.iter().map(|named| named.name.clone()).collect();
        let mut values = Values {
            names: &self.names,
            wanted: &all,
            found: BTreeMap::new(),
        };
        self.model.visit(&mut values);
        let config =
            serde_json::to_value(config).map_err(|error| TrainError::format(folder, error))?;
        checkpoint::save_fresh(&values.found, &config, folder)
    }

    /// Writes a Hugging Face folder of the whole model: the checkpoint that it was loaded from with
    /// what was trained in its place, and adapters merged into their layers.
    ///
    /// # Errors
    ///
    /// If the checkpoint cannot be read again, or the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TrainError> {
        let trained = checkpoint::TrainedValues {
            values: &self.values(),
            lora: self.lora.as_ref(),
        };
        let base = Checkpoint::open(&self.source)?;
        checkpoint::save_trained(&self.source, &base, trained, folder.as_ref())
    }
}
