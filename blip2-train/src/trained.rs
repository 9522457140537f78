//! A model that is being trained.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use blip2_core::{
    Checkpoint, CheckpointFolder, CheckpointWeights, LoadReport, Precision, PrecisionPlan,
    config::Blip2Config, model::Blip2ForConditionalGeneration,
};
use blip2_kernels::{Recycling, WeightSource, Weights, in_pool, recompute::Recompute};
use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Tensor, TensorData},
};

use crate::{
    Gradients, Lora, LoraConfig, Named, Names, TrainError, gradients::Collector, lora,
    optimizer::Row,
};

/// What of a checkpoint is to be trained.
#[derive(Debug, Clone)]
#[must_use = "nothing is loaded before `load`"]
pub struct Training {
    folder: CheckpointFolder,
    config: Blip2Config,
    device: Device,
    precision: PrecisionPlan,
    parts: Vec<String>,
    lora: Option<Lora>,
}

/// A model, its parameters by name, and which of them are trained.
#[derive(Debug, Clone)]
pub struct Trained<M> {
    model: M,
    names: Names,
    trained: BTreeSet<String>,
    lora: Option<LoraConfig>,
    source: PathBuf,
    /// Steps use one another's memory again.
    _recycling: Recycling,
}

impl Training {
    /// Trains a checkpoint of BLIP-2 or InstructBLIP. What of it is said by
    /// [`part`](Self::part), [`bridge`](Self::bridge) and [`lora`](Self::lora).
    ///
    /// # Errors
    ///
    /// For a folder that cannot be read, or of another model.
    pub fn of(folder: &CheckpointFolder) -> Result<Self, TrainError> {
        Ok(Self {
            folder: folder.clone(),
            config: folder.config()?,
            device: Device::flex(),
            precision: Precision::F32.into(),
            parts: Vec::new(),
            lora: None,
        })
    }

    /// Trains the parameters whose names begin with `part`, such as `qformer`, `query_tokens`,
    /// `language_projection`, `language_model` or `vision_model.encoder.layers.11`.
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.parts.push(part.into());
        self
    }

    /// Trains what the paper trains: the Q-Former, its queries and the projection, between an image
    /// encoder and a language model that stay as they are.
    pub fn bridge(self) -> Self {
        self.part("qformer")
            .part("query_tokens")
            .part("language_projection")
    }

    /// Trains new adapters; see [`Lora::fresh`].
    ///
    /// # Errors
    ///
    /// As [`Lora::fresh`].
    pub fn lora(self, config: LoraConfig, seed: u64) -> Result<Self, TrainError> {
        Ok(self.adapters(Lora::fresh(config, seed)?))
    }

    /// Trains these adapters.
    pub fn adapters(mut self, lora: Lora) -> Self {
        self.lora = Some(lora);
        self
    }

    /// Holds what is not trained in this precision: adapters can be trained over 8 or 4 bits. What
    /// is trained is always held in `f32`. Default `f32`.
    pub fn precision(mut self, precision: impl Into<PrecisionPlan>) -> Self {
        self.precision = precision.into();
        self
    }

    /// Computes on this device. Default: `flex`.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &Blip2Config {
        &self.config
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// [`TrainError::NothingTrains`] naming a part or a layer that the model does not have, and as
    /// loading for inference.
    pub fn load(self) -> Result<Trained<Blip2ForConditionalGeneration>, TrainError> {
        self.precision.check(&self.device)?;
        let checkpoint = self.folder.checkpoint()?;
        let weights = CheckpointWeights::new(&checkpoint);
        let full = |precision| matches!(precision, Precision::F32 | Precision::AsStored);
        // Gradients pass through the language model whatever of it is trained, unless that is the
        // image encoder's business alone; a packed matrix would be unpacked at every step.
        let dense = |name: &str| {
            self.trains(name)
                || name.starts_with("language_model.") && full(self.precision.language_model)
        };
        let trains = |name: &str| self.trains(name);
        let built = Trained::build(
            &weights,
            &self.device,
            [&trains, &dense],
            self.lora.as_ref(),
            |weights| {
                let model =
                    Blip2ForConditionalGeneration::load(&self.config, weights, self.precision);
                model.map_err(TrainError::from)
            },
        )?;
        let _: LoadReport = weights.finish(&IGNORABLE)?;
        built.check(&self.parts, self.lora.as_ref())?;
        Ok(Trained {
            source: self.folder.path().to_path_buf(),
            ..built
        })
    }

    fn trains(&self, name: &str) -> bool {
        self.parts.iter().any(|part| {
            let rest = name.strip_prefix(part.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

/// Duplicates of tied weights, and buffers of old versions, as inference passes over them.
const IGNORABLE: [&str; 6] = [
    "EncDecAttention.relative_attention_bias.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "lm_head.weight",
    "position_ids",
    "embed_positions.weights",
];

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
        let remembering = crate::names::Remembering::new(source, dense, lora);
        let model = build(&Weights::new(&remembering, device))?;
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
            _recycling: Recycling::begin(),
        })
    }

    /// Refuses parts and layers that matched nothing: a name that was misspelt would else train
    /// less than was meant.
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
        self.model.map(&mut Stop)
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
