//! What is watched while a model is built.

use std::cell::RefCell;

use blip2_io::Adapter;
use blip2_kernels::{LowRankData, TensorRequest, WeightObserver};
use burn::module::ParamId;

use super::plan::TrainPlan;
use crate::names::{Named, Names};

/// Notes which parameter each tensor becomes, keeps trained ones as tensors, and adds adapters.
pub(crate) struct Observer<'s> {
    plan: &'s TrainPlan<'s>,
    names: RefCell<Names>,
}

impl<'s> Observer<'s> {
    pub(crate) fn new(plan: &'s TrainPlan<'s>) -> Self {
        Self {
            plan,
            names: RefCell::default(),
        }
    }

    pub(crate) fn into_names(self) -> Names {
        self.names.into_inner()
    }
}

impl WeightObserver for Observer<'_> {
    fn made(&self, request: &TensorRequest<'_>, id: ParamId) {
        let named = Named {
            name: request.name.to_string(),
            shape: request.shape.to_vec(),
            role: request.role,
        };
        self.names.borrow_mut().by_id.insert(id, named);
    }

    fn trains(&self, name: &str) -> bool {
        let mut twins = Adapter::copies(name).chain(Adapter::originals(name));
        if twins.next().is_some() {
            self.names.borrow_mut().tables.insert(name.to_string());
        }
        self.plan.is_dense(name)
    }

    fn low_rank(&self, request: &TensorRequest<'_>) -> Option<LowRankData> {
        let &[outputs, inputs] = request.shape else {
            return None;
        };
        let layer = request.name.strip_suffix(".weight")?;
        self.names.borrow_mut().layers.insert(layer.to_string());
        self.plan.lora?.data(layer, [outputs, inputs])
    }
}
