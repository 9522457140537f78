//! A model that is being trained.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use blip2_core::{Checkpoint, config::Blip2Config};
use blip2_kernels::{Recycling, WeightSource, Weights, in_pool, recompute::Recompute};
use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Tensor, TensorData},
};

use crate::{
    Gradients, Lora, LoraConfig, Named, Names, TrainError, gradients::Collector, lora,
    optimizer::Row,
};

/// A model, its parameters by name, and which of them are trained.
#[derive(Debug, Clone)]
pub struct Trained<M> {
    model: M,
    names: Names,
    trained: BTreeSet<String>,
    lora: Option<LoraConfig>,
    source: PathBuf,
    device: Device,
    /// Steps use one another's memory again.
    _recycling: Recycling,
}

impl<M: Module> Trained<M> {
    /// Builds any model so that it can be trained: `build` is given the weights, of which it makes
    /// the model. `trains` says which parameters move, `dense` which matrices are wanted as tensors
    /// of `f32` beside those; adapters always move.
    ///
    /// # Errors
    ///
    /// Those of `build`.
    pub fn build(
        source: &dyn WeightSource,
        device: &Device,
        [trains, dense]: [&dyn Fn(&str) -> bool; 2],
        lora: Option<&Lora>,
        build: impl FnOnce(&Weights<'_>) -> Result<M, TrainError>,
    ) -> Result<Self, TrainError> {
        let remembering = crate::names::Remembering::new(dense, lora);
        let weights = Weights::new(source, device).observed_by(&remembering);
        let model = build(&weights)?;
        let names = remembering.into_names();
        let moves = |named: &&Named| named.is_lora() || trains(&named.name);
        let trained: BTreeSet<String> = names
            .iter()
            .filter(moves)
            .map(|named| named.name.clone())
            .collect();
        let mut started = Start {
            names: &names,
            trained: &trained,
        };
        let model = model.map(&mut started);
        Ok(Self {
            model,
            names,
            trained,
            lora: lora.map(|lora| lora.config().clone()),
            source: PathBuf::new(),
            device: device.clone(),
            _recycling: Recycling::begin(),
        })
    }

    /// The same, known to be made of the checkpoint in `source`. Parts and layers that matched nothing
    /// are refused: a name that was misspelt would else train less than was meant.
    pub(crate) fn of_checkpoint(
        self,
        source: &Path,
        parts: &[String],
        lora: Option<&Lora>,
    ) -> Result<Self, TrainError> {
        self.check(parts, lora)?;
        let source = source.to_path_buf();
        Ok(Self { source, ..self })
    }

    fn check(&self, parts: &[String], lora: Option<&Lora>) -> Result<(), TrainError> {
        let nothing = |reason: String| Err(TrainError::NothingTrains { reason });
        for part in parts {
            if !self
                .trained
                .iter()
                .any(|name| name.starts_with(part.as_str()))
            {
                return nothing(format!("no parameter's name begins with `{part}`"));
            }
        }
        let layers: BTreeSet<&str> = self
            .trained
            .iter()
            .filter_map(|name| name.strip_suffix(".lora_A.weight"))
            .collect();
        if let Some(lora) = lora {
            let targets = lora.config().target_modules.iter();
            for target in targets.filter(|_| lora.is_fresh()) {
                let matches = |layer: &&str| layer.ends_with(target.as_str());
                if !layers.iter().any(matches) {
                    return nothing(format!("no linear layer is called `{target}`"));
                }
            }
            if let Some(layer) = lora.saved_layers().find(|layer| !layers.contains(layer)) {
                return nothing(format!(
                    "there is no layer `{layer}` of the adapter's shape"
                ));
            }
        }
        match self.trained.is_empty() {
            true => nothing("neither a part nor an adapter was named".into()),
            false => Ok(()),
        }
    }

    /// The model. Where it is run while gradients are recorded, those of trained parameters are.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model as it is, without gradients.
    pub fn into_model(self) -> M {
        without_gradients(self.model)
    }

    /// The device that it was built on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All parameters that are tensors of Burn.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The parameters that are trained, by name.
    pub fn parameters(&self) -> impl Iterator<Item = &Named> {
        let trained = |named: &&Named| self.trained.contains(&named.name);
        self.names.iter().filter(trained)
    }

    /// The gradients of a loss.
    ///
    /// # Errors
    ///
    /// [`TrainError::NotFinite`] for a loss that is no number, and
    /// [`TrainError::NothingTrains`] for one that depends on nothing that is trained.
    pub fn gradients(&self, loss: Tensor<1>) -> Result<Gradients, TrainError> {
        check_loss(&loss)?;
        Ok(self.collected(&in_pool(|| loss.backward())))
    }

    /// The gradients of a loss that was computed while layers were forgotten; they are computed again
    /// now, see [`Recompute`].
    ///
    /// # Errors
    ///
    /// As [`gradients`](Self::gradients).
    pub fn recomputed_gradients(
        &self,
        loss: Tensor<1>,
        forgotten: Recompute,
    ) -> Result<Gradients, TrainError> {
        check_loss(&loss)?;
        let parts = forgotten.backward(loss);
        let parts = parts.iter().map(|part| self.collected(part));
        Ok(parts.reduce(Gradients::plus).unwrap_or_default())
    }

    /// What of Burn's gradients is of trained parameters.
    fn collected(&self, from: &burn::tensor::Gradients) -> Gradients {
        let mut collector = Collector {
            names: &self.names,
            from,
            found: Gradients::default(),
        };
        self.model.visit(&mut collector);
        collector.found
    }

    /// Puts what `change` makes of a trained parameter's numbers in its place.
    pub(crate) fn update(&mut self, change: impl FnMut(&Named, Row) -> Option<Row>) {
        let mut update = Update {
            names: &self.names,
            trained: &self.trained,
            change,
        };
        self.model = self.model.clone().map(&mut update);
    }

    /// The same with these numbers in the places of trained parameters.
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] for numbers that are not those of all trained parameters.
    pub fn with_values(&self, values: &BTreeMap<String, TensorData>) -> Result<Self, TrainError> {
        let mut other = self.clone();
        other.restore(values, Path::new("values"))?;
        Ok(other)
    }

    /// The trained parameters' numbers, in the shapes of a checkpoint.
    pub fn values(&self) -> BTreeMap<String, TensorData> {
        let mut values = Values {
            names: &self.names,
            trained: &self.trained,
            found: BTreeMap::new(),
        };
        self.model.visit(&mut values);
        values.found
    }

    /// Puts numbers in the places of trained parameters, all of which must be there.
    pub(crate) fn restore(
        &mut self,
        values: &BTreeMap<String, TensorData>,
        path: &Path,
    ) -> Result<(), TrainError> {
        for named in self.parameters() {
            let fits = values
                .get(&named.name)
                .is_some_and(|value| **value.shape() == *named.shape);
            if !fits {
                let reason = format!(
                    "it has no `{}` of shape {:?}: it belongs to another training; give another \
                     folder, or the settings that it was made with",
                    named.name, named.shape
                );
                return Err(TrainError::state(path, reason));
            }
        }
        self.update(|named, value| {
            let data = values.get(&named.name)?.clone();
            let count = value.dims()[0];
            Some(Tensor::from_data(reshaped(data, &[count]), &value.device()))
        });
        Ok(())
    }

    /// How many layers the image encoder has, as far as they are tensors of Burn.
    pub(crate) fn vision_layers(&self) -> usize {
        const PREFIX: &str = "vision_model.encoder.layers.";
        let layer = |named: &Named| {
            let rest = named.name.strip_prefix(PREFIX)?;
            rest.split('.').next()?.parse::<usize>().ok()
        };
        self.names
            .iter()
            .filter_map(layer)
            .max()
            .map_or(0, |n| n + 1)
    }

    /// Writes the adapters as PEFT does, to be loaded by it or by [`Lora::load`].
    ///
    /// # Errors
    ///
    /// [`TrainError::NothingTrains`] if there are none, and if a file cannot be written.
    pub fn save_lora(&self, folder: impl AsRef<Path>) -> Result<(), TrainError> {
        let Some(config) = &self.lora else {
            let reason = "the model has no adapters to save".into();
            return Err(TrainError::NothingTrains { reason });
        };
        let adapters = self.values().into_iter();
        let adapters = adapters.filter(|(name, _)| name.contains(".lora_"));
        let base = self.source.display().to_string();
        lora::save(folder.as_ref(), config, &adapters.collect(), &base)
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
            trained: &all,
            found: BTreeMap::new(),
        };
        self.model.visit(&mut values);
        let config =
            serde_json::to_value(config).map_err(|error| TrainError::state(folder, error))?;
        crate::state::save_fresh(&values.found, &config, folder)
    }

    /// Writes a Hugging Face folder of the whole model: the checkpoint that it was loaded from with
    /// what was trained in its place, and adapters merged into their layers.
    ///
    /// # Errors
    ///
    /// If the checkpoint cannot be read again, or the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TrainError> {
        let checkpoint = Checkpoint::open(&self.source)?;
        let scale = self.lora.as_ref().map_or(0.0, LoraConfig::scale);
        crate::state::save_model(
            &self.source,
            &checkpoint,
            &self.values(),
            scale,
            folder.as_ref(),
        )
    }
}

fn check_loss(loss: &Tensor<1>) -> Result<(), TrainError> {
    let value = loss.clone().into_scalar::<f32>();
    if !value.is_finite() {
        let (what, step) = ("the loss".to_string(), 0);
        return Err(TrainError::NotFinite { what, value, step });
    }
    if !loss.is_tracked() {
        let reason = "the loss depends on no trained parameter".into();
        return Err(TrainError::NothingTrains { reason });
    }
    Ok(())
}

/// Switches gradients of trained parameters on.
struct Start<'s> {
    names: &'s Names,
    trained: &'s BTreeSet<String>,
}

impl ModuleMapper for Start<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let named = self.names.get(&id);
        match named.filter(|named| self.trained.contains(&named.name)) {
            Some(_) => Param::initialized(id, param.val().autodiff().require_grad()),
            None => param,
        }
    }
}

/// The model as it is, of which nothing is recorded.
pub(crate) fn without_gradients<M: Module>(model: M) -> M {
    model.map(&mut Stop)
}

/// Switches all gradients off.
struct Stop;

impl ModuleMapper for Stop {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        Param::initialized(id, param.val().inner())
    }
}

struct Update<'u, F> {
    names: &'u Names,
    trained: &'u BTreeSet<String>,
    change: F,
}

impl<F: FnMut(&Named, Row) -> Option<Row>> ModuleMapper for Update<'_, F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(named) = self.names.get(&id) else {
            return param;
        };
        if !self.trained.contains(&named.name) {
            return param;
        }
        let value = param.val().inner();
        let shape = value.dims();
        let row = value.reshape([shape.iter().product::<usize>()]);
        match (self.change)(named, row) {
            Some(changed) => {
                let changed = changed.reshape(shape).autodiff().require_grad();
                Param::initialized(id, changed)
            }
            None => param,
        }
    }
}

struct Values<'v> {
    names: &'v Names,
    trained: &'v BTreeSet<String>,
    found: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Values<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(named) = self.names.get(&param.id) else {
            return;
        };
        if self.trained.contains(&named.name) {
            let data = param.val().inner().into_data();
            let data = reshaped(data, &named.shape);
            self.found.insert(named.name.clone(), data);
        }
    }
}

/// The same numbers in another shape.
fn reshaped(data: TensorData, shape: &[usize]) -> TensorData {
    let dtype = data.dtype();
    let (bytes, _, _) = data.into_parts();
    TensorData::from_bytes(bytes, shape.to_vec(), dtype)
}
