//! What a model is built to train.

use crate::{lora::Lora, names::Selection};

/// Which parameters of a model are trained, which are held as tensors of `f32` beside those, and the
/// adapters that it gets.
///
/// ```
/// use blip2_train::{Lora, LoraConfig, Selection, TrainPlan};
///
/// let lora = Lora::fresh(LoraConfig::new(8, ["q_proj", "v_proj"]), 0)?;
/// let plan = TrainPlan::new(Selection::matching(["language_projection"])).with_lora(&lora);
/// assert!(!plan.is_dense("language_model.lm_head.weight"));
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TrainPlan<'l> {
    pub(crate) trains: Selection,
    dense: Selection,
    pub(crate) lora: Option<&'l Lora>,
}

impl<'l> TrainPlan<'l> {
    /// Trains these parameters.
    pub fn new(trains: Selection) -> Self {
        Self {
            trains,
            dense: Selection::none(),
            lora: None,
        }
    }

    /// Trains everything.
    pub fn all() -> Self {
        Self::new(Selection::All)
    }

    /// Holds these parameters as tensors of `f32` too: what gradients pass through at every step is
    /// faster so than packed for the kernels of inference.
    pub fn with_dense(mut self, dense: Selection) -> Self {
        self.dense = dense;
        self
    }

    /// Adds adapters, which are always trained.
    pub fn with_lora(mut self, lora: impl Into<Option<&'l Lora>>) -> Self {
        self.lora = lora.into();
        self
    }

    /// Whether a parameter is held as a tensor of `f32`: it is trained, or asked for so.
    pub fn is_dense(&self, name: &str) -> bool {
        self.trains.contains(name) || self.dense.contains(name)
    }
}
