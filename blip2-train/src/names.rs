//! Parameters by their Hugging Face names.

use std::{cell::RefCell, collections::HashMap};

use blip2_kernels::{LowRankData, Role, TensorRequest, WeightObserver};
use burn::module::ParamId;

use crate::Lora;

/// A parameter of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// Its Hugging Face name; of an adapter the layer's, with `.lora_A.weight` or `.lora_B.weight`.
    pub name: String,
    /// Its shape in a checkpoint.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// The parameters of a model, as far as they are tensors of Burn: packed matrices are none.
#[derive(Debug, Clone, Default)]
pub struct Names {
    by_id: HashMap<ParamId, Named>,
}

impl Named {
    /// Whether it belongs to an adapter.
    pub fn is_lora(&self) -> bool {
        self.name.ends_with(".lora_A.weight") || self.name.ends_with(".lora_B.weight")
    }

    /// Whether weight decay is for it: not for biases and norms (Loshchilov and Hutter, 2019, and
    /// every recipe of BLIP-2).
    pub fn decays(&self) -> bool {
        !matches!(self.role, Role::Bias | Role::Scale) && self.shape.len() > 1
    }
}

impl Names {
    /// The parameter of an id.
    pub fn get(&self, id: &ParamId) -> Option<&Named> {
        self.by_id.get(id)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Named> {
        let mut all: Vec<_> = self.by_id.values().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.into_iter()
    }
}

/// Remembers what became of a model's weights, keeps trained ones as tensors, and adds adapters.
pub(crate) struct Remembering<'s> {
    trains: &'s dyn Fn(&str) -> bool,
    lora: Option<&'s Lora>,
    names: RefCell<Names>,
}

impl<'s> Remembering<'s> {
    pub(crate) fn new(trains: &'s dyn Fn(&str) -> bool, lora: Option<&'s Lora>) -> Self {
        Self {
            trains,
            lora,
            names: RefCell::default(),
        }
    }

    pub(crate) fn into_names(self) -> Names {
        self.names.into_inner()
    }
}

impl WeightObserver for Remembering<'_> {
    fn made(&self, request: &TensorRequest<'_>, id: ParamId) {
        let named = Named {
            name: request.name.to_string(),
            shape: request.shape.to_vec(),
            role: request.role,
        };
        self.names.borrow_mut().by_id.insert(id, named);
    }

    fn trains(&self, name: &str) -> bool {
        (self.trains)(name)
    }

    fn low_rank(&self, request: &TensorRequest<'_>) -> Option<LowRankData> {
        let &[outputs, inputs] = request.shape else {
            return None;
        };
        let layer = request.name.strip_suffix(".weight")?;
        self.lora?.data(layer, [outputs, inputs])
    }
}
