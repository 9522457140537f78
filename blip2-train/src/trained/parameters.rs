//! Passes over the parameters of a model: Burn hands out each tensor with its id alone.

use std::collections::{BTreeMap, BTreeSet};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Tensor, TensorData},
};

use crate::{
    gradients::Row,
    names::{Named, Names},
};

/// Has gradients of trained parameters recorded.
pub(super) struct Record<'s> {
    pub(super) names: &'s Names,
    pub(super) trained: &'s BTreeSet<String>,
}

impl ModuleMapper for Record<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let named = self.names.get(&id);
        match named.filter(|named| self.trained.contains(&named.name)) {
            Some(_) => Param::initialized(id, param.val().autodiff().require_grad()),
            None => param,
        }
    }
}

/// The model as it is, of which no gradient is recorded.
pub(crate) fn without_gradients<M: Module>(model: M) -> M {
    model.map(&mut NoRecord)
}

struct NoRecord;

impl ModuleMapper for NoRecord {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        Param::initialized(id, param.val().inner())
    }
}

/// Puts what `change` makes of a trained parameter in its place.
pub(super) struct Update<'u, F> {
    pub(super) names: &'u Names,
    pub(super) trained: &'u BTreeSet<String>,
    pub(super) change: F,
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
        // The update itself is no part of the graph: the parameter is a leaf again behind it.
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

/// Reads the numbers of parameters, in the shapes of a checkpoint.
pub(super) struct Values<'v> {
    pub(super) names: &'v Names,
    pub(super) wanted: &'v BTreeSet<String>,
    pub(super) found: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Values<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(named) = self.names.get(&param.id) else {
            return;
        };
        if self.wanted.contains(&named.name) {
            let data = param.val().inner().into_data();
            let data = reshaped(data, &named.shape);
            self.found.insert(named.name.clone(), data);
        }
    }
}

/// The same numbers in another shape.
pub(super) fn reshaped(data: TensorData, shape: &[usize]) -> TensorData {
    let dtype = data.dtype();
    let (bytes, _, _) = data.into_parts();
    TensorData::from_bytes(bytes, shape.to_vec(), dtype)
}
