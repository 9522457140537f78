//! What a saved adapter holds of modules that were trained whole, in the place of the base's.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use blip2_io::{Adapter, IoError};
use blip2_kernels::{PackedMatrix, TensorRequest, WeightSource};
use burn::tensor::TensorData;

use super::Lora;
use crate::error::TrainError;

/// The base's weights, and in their places those that adapters come with.
pub(crate) struct Replaced<'s> {
    source: &'s dyn WeightSource,
    adapter: Option<&'s Adapter>,
    /// The adapter's names by the base's.
    whole: BTreeMap<String, &'s str>,
    /// The first that did not fit: a source of weights cannot fail.
    fault: RefCell<Option<IoError>>,
}

impl<'s> Replaced<'s> {
    /// Finds the place of all that `lora` comes with.
    ///
    /// # Errors
    ///
    /// For what has none.
    pub(crate) fn new(
        source: &'s dyn WeightSource,
        lora: Option<&'s Lora>,
    ) -> Result<Self, TrainError> {
        let adapter = lora.and_then(Lora::saved);
        let mut whole = BTreeMap::new();
        for own in adapter.into_iter().flat_map(Adapter::replaced) {
            let name = Adapter::name_in(own, |name| source.contains(name));
            if name.is_none() && adapter.is_some_and(|adapter| adapter.repeats(own)) {
                continue;
            }
            let name = name.ok_or_else(|| {
                let reason = "matches nothing in the model: it was made for another one";
                missing(adapter, own, reason)
            })?;
            whole.insert(name, own);
        }
        Ok(Self {
            source,
            adapter,
            whole,
            fault: RefCell::default(),
        })
    }

    /// Refuses what did not fit. The model has a hole there, which is not the fault of its own checkpoint.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        match self.fault.take() {
            Some(fault) => Err(fault.into()),
            None => Ok(()),
        }
    }

    /// Refuses what would be lost when the model is saved: what was put in its place and is not trained.
    pub(crate) fn finish(&self, trained: &BTreeSet<String>) -> Result<(), TrainError> {
        match self.whole.keys().find(|name| !trained.contains(*name)) {
            None => Ok(()),
            Some(name) => {
                let reason = "was trained whole with the adapters, and is not trained now; name it in \
                              the parts that are";
                Err(missing(self.adapter, name, reason))
            }
        }
    }

    /// The numbers that are put in a tensor's place.
    fn replacement(&self, request: &TensorRequest<'_>) -> Option<Option<TensorData>> {
        let own = self.whole.get(request.name)?;
        match self.adapter?.replacement(own, request.shape) {
            Ok(data) => {
                let held = request.storage(data.dtype());
                Some(Some(data.convert_dtype(held)))
            }
            Err(fault) => {
                self.fault.borrow_mut().get_or_insert(fault);
                Some(None)
            }
        }
    }
}

fn missing(adapter: Option<&Adapter>, name: &str, reason: &str) -> TrainError {
    let reason = format!("`{name}` {reason}");
    match adapter {
        Some(adapter) => adapter.mismatch(reason).into(),
        None => TrainError::NothingTrains { reason },
    }
}

impl WeightSource for Replaced<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        match self.replacement(request) {
            Some(replaced) => replaced,
            None => self.source.tensor(request),
        }
    }

    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        match self.whole.contains_key(request.name) {
            true => None,
            false => self.source.packed(request),
        }
    }

    fn release(&self, request: &TensorRequest<'_>) {
        self.source.release(request);
    }

    fn differ(&self, name: &str, other: &str) -> bool {
        self.source.differ(name, other)
    }

    fn contains(&self, name: &str) -> bool {
        self.source.contains(name)
    }
}
