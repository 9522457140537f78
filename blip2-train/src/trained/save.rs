//! What a trained model leaves on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use blip2_core::{Checkpoint, config::Blip2Config};
use burn::module::Module;

use super::{Trained, parameters::Values};
use crate::{
    checkpoint,
    error::TrainError,
    files::check_apart,
    lora::{LoraConfig, file},
};

impl<M: Module> Trained<M> {
    /// Writes the adapters as PEFT does, to be loaded by it or by [`Lora::load`](crate::Lora::load).
    ///
    /// # Errors
    ///
    /// [`TrainError::NothingTrains`] if there are none, and if a file cannot be written.
    pub fn save_lora(&self, folder: impl AsRef<Path>) -> Result<(), TrainError> {
        let Some(config) = &self.lora else {
            let reason = "the model has no adapters to save".into();
            return Err(TrainError::NothingTrains { reason });
        };
        let folder = folder.as_ref();
        if !self.source.as_os_str().is_empty() {
            check_apart(folder, &self.source)?;
        }
        let adapters = self.values().into_iter();
        let adapters = adapters.filter(|(name, _)| name.contains(".lora_"));
        let base = self.source.display().to_string();
        file::save(folder, config, &adapters.collect(), &base)
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
            lora_scale: self.lora.as_ref().map_or(0.0, LoraConfig::scale),
        };
        let base = Checkpoint::open(&self.source)?;
        checkpoint::save_trained(&self.source, &base, trained, folder.as_ref())
    }
}
