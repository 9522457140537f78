//! A model that is being trained.

mod check;
mod observer;
mod parameters;
mod plan;
mod save;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use blip2_kernels::{Recycling, WeightSource, Weights, in_pool, recompute::Recompute};
use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};

use observer::Observer;
use parameters::{Record, Update, Values, reshaped};

use crate::{
    error::TrainError,
    gradients::{Collector, Gradients, Row},
    lora::{Chosen, LoraConfig},
    names::{Named, Names, within},
};

pub(crate) use parameters::without_gradients;
pub use plan::TrainPlan;

/// A model, its parameters by name, and which of them are trained.
///
/// [`Training`](crate::Training) loads one from a checkpoint; [`build`](Self::build) makes one of any
/// module:
///
/// ```
/// use blip2_kernels::{Bias, Linear, RandomWeights};
/// use blip2_train::{AdamW, TrainPlan, Trained};
/// use burn::{module::Module, tensor::{Device, Tensor}};
///
/// #[derive(Module, Debug)]
/// struct Line {
///     layer: Linear,
/// }
///
/// let source = RandomWeights::new(0, 0.1);
/// let mut trained = Trained::build(&source, &Device::flex(), &TrainPlan::all(), |weights| {
///     Ok(Line { layer: weights.linear("layer", 2, 1, Bias::With) })
/// })?;
/// let mut optimizer = AdamW::default();
/// let loss = |line: &Line| {
///     let inputs = Tensor::from_floats([[1.0, 0.0], [0.0, 1.0]], &Device::flex());
///     let wanted = Tensor::<2>::from_floats([[0.5], [-0.5]], &Device::flex());
///     (line.layer.forward(inputs) - wanted).square().mean()
/// };
/// let before = loss(trained.model()).into_scalar::<f32>();
/// for _ in 0..20 {
///     let gradients = trained.gradients(loss(trained.model()))?;
///     optimizer.step(&mut trained, gradients, 0.05)?;
/// }
/// assert!(loss(trained.model()).into_scalar::<f32>() < 0.5 * before);
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Trained<M> {
    model: M,
    names: Names,
    pub(crate) trained: BTreeSet<String>,
    lora: Option<Chosen>,
    source: PathBuf,
    base: Option<String>,
    device: Device,
    /// Steps use one another's memory again.
    _recycling: Recycling,
}

impl<M: Module> Trained<M> {
    /// Builds any model so that it can be trained as `plan` says: `build` is given the weights, of
    /// which it makes the model.
    ///
    /// # Errors
    ///
    /// Those of `build`.
    pub fn build(
        source: &dyn WeightSource,
        device: &Device,
        plan: &TrainPlan<'_>,
        build: impl FnOnce(&Weights<'_>) -> Result<M, TrainError>,
    ) -> Result<Self, TrainError> {
        let observer = Observer::new(plan);
        let model = build(&Weights::new(source, device).observed_by(&observer))?;
        let names = observer.into_names();
        let moves = |named: &&Named| named.is_lora() || plan.trains.contains(&named.name);
        let trained: BTreeSet<String> = names
            .iter()
            .filter(moves)
            .map(|named| named.name.clone())
            .collect();
        let mut record = Record {
            names: &names,
            trained: &trained,
        };
        let model = model.map(&mut record);
        Ok(Self {
            model,
            names,
            trained,
            lora: plan.lora.map(|lora| lora.chosen().clone()),
            source: PathBuf::new(),
            base: None,
            device: device.clone(),
            _recycling: Recycling::begin(),
        })
    }

    /// The model. What is computed with it is recorded as far as it depends on trained parameters.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model as it is, without gradients.
    pub fn into_model(self) -> M {
        without_gradients(self.model)
    }

    /// The same, known to be made of the base model of this fingerprint, such as
    /// [`Checkpoint::fingerprint`](blip2_core::Checkpoint::fingerprint) gives: states say so, and are gone
    /// on from over no other.
    #[must_use]
    pub fn of_base(mut self, fingerprint: impl Into<String>) -> Self {
        self.base = Some(fingerprint.into());
        self
    }

    /// The base model's fingerprint, where it is known.
    pub(crate) fn base(&self) -> Option<&str> {
        self.base.as_deref()
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

    /// The names of the parameters that are trained.
    pub(crate) fn trained_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.trained.iter().map(String::as_str)
    }

    /// The gradients of a loss, by a backward pass.
    ///
    /// # Errors
    ///
    /// [`TrainError::NotFinite`] for a loss that is no number, and
    /// [`TrainError::NothingTrains`] for one that depends on nothing that is trained.
    pub fn gradients(&self, loss: Tensor<1>) -> Result<Gradients, TrainError> {
        check_loss(&loss)?;
        Ok(self.collected(&in_pool(|| loss.backward())))
    }

    /// The gradients of a loss that was computed under gradient checkpointing: the backward pass
    /// computes the layers again of which only the input was kept, see [`Recompute`].
    ///
    /// # Errors
    ///
    /// As [`gradients`](Self::gradients).
    pub fn checkpointed_gradients(
        &self,
        loss: Tensor<1>,
        checkpoints: Recompute,
    ) -> Result<Gradients, TrainError> {
        check_loss(&loss)?;
        let parts = checkpoints.backward(loss);
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
            wanted: &self.trained,
            found: BTreeMap::new(),
        };
        self.model.visit(&mut values);
        values.found
    }

    /// Puts numbers in the places of trained parameters, all of which must be there. `path` is what an
    /// error names.
    pub(crate) fn restore(
        &mut self,
        values: &BTreeMap<String, TensorData>,
        path: &Path,
    ) -> Result<(), TrainError> {
        self.check_values(values, path)?;
        self.update(|named, value| {
            let data = values.get(&named.name)?.clone();
            let count = value.dims()[0];
            Some(Tensor::from_data(reshaped(data, &[count]), &value.device()))
        });
        Ok(())
    }

    /// Refuses numbers that are not those of all trained parameters, in their shapes.
    pub(crate) fn check_values(
        &self,
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
        Ok(())
    }

    /// How many numbers each of these trained parameters has.
    pub(crate) fn counts(&self, names: &[String]) -> BTreeMap<String, usize> {
        let wanted: BTreeSet<&String> = names.iter().collect();
        let named = self
            .parameters()
            .filter(|named| wanted.contains(&named.name));
        named
            .map(|named| (named.name.clone(), named.shape.iter().product()))
            .collect()
    }

    /// The adapters' configuration, if there are any.
    pub(crate) fn lora(&self) -> Option<&LoraConfig> {
        self.lora.as_ref().map(|chosen| &chosen.config)
    }

    /// The patterns of ranks and alphas that are of no layer that is adapted.
    pub fn idle_patterns(&self) -> Vec<String> {
        let layers = self.names.layers();
        let idle = |chosen: &Chosen| chosen.idle_patterns(layers.clone());
        self.lora.as_ref().map(idle).unwrap_or_default()
    }

    /// How many layers the image encoder has, as far as they are tensors of Burn.
    pub(crate) fn vision_layers(&self) -> usize {
        let layer = |named: &Named| vision_layer(&named.name);
        let last = self.names.iter().filter_map(layer).max();
        last.map_or(0, |last| last + 1)
    }
}

/// The number of the image encoder's layer that a parameter is in.
pub(crate) fn vision_layer(name: &str) -> Option<usize> {
    let rest = within("vision_model.encoder.layers", name)?;
    rest.split('.').next()?.parse().ok()
}

/// The device that a model is computed on: that of its first parameter. Batches go there
/// ([`PixelValues::tensor`](blip2_io::preprocessing::PixelValues::tensor)).
///
/// A model without any parameter is computed on the default device, `flex`.
pub fn device_of(model: &impl Module) -> Device {
    let device = model.devices().into_iter().next();
    // Of a trained parameter it would have everything recorded that is made on it.
    device.map_or_else(Device::flex, Device::without_autodiff)
}

fn check_loss(loss: &Tensor<1>) -> Result<(), TrainError> {
    let value = loss.clone().into_scalar::<f32>();
    if !value.is_finite() {
        let (what, step, lr) = ("the loss".to_string(), 0, None);
        return Err(TrainError::NotFinite {
            what,
            value,
            step,
            lr,
        });
    }
    if !loss.is_tracked() {
        let reason = "the loss depends on no trained parameter".into();
        return Err(TrainError::NothingTrains { reason });
    }
    Ok(())
}
