//! A source of weights under watch: it counts what is read, and can be stopped.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use blip2_kernels::{PackedMatrix, TensorRequest, WeightSource};
use blip2_lm::generate::CancelToken;
use burn::tensor::TensorData;

use super::{LoadProgress, progress::Listener};
use crate::error::Blip2Error;

/// Answers as `source` does, tells how far it has come, and answers nothing once it is cancelled:
/// what is built of it then has holes, and [`finish`](Self::finish) says so.
pub(super) struct Watched<'s> {
    source: &'s dyn WeightSource,
    cancel: &'s CancelToken,
    stopped: Cell<bool>,
    told: Option<Told<'s>>,
}

/// Who is told, and what is not read yet.
struct Told<'s> {
    listener: &'s Listener,
    /// The bytes of each tensor that was not read yet.
    left: RefCell<BTreeMap<String, u64>>,
    progress: Cell<LoadProgress>,
}

impl<'s> Watched<'s> {
    pub(super) fn new(source: &'s dyn WeightSource, cancel: &'s CancelToken) -> Self {
        Self {
            source,
            cancel,
            stopped: Cell::new(false),
            told: None,
        }
    }

    /// Tells `listener` of each of these tensors, by name, with their bytes.
    pub(super) fn telling(
        mut self,
        listener: &'s Listener,
        tensors: BTreeMap<String, u64>,
    ) -> Self {
        let progress = LoadProgress {
            tensors: tensors.len(),
            bytes: tensors.values().sum(),
            ..LoadProgress::default()
        };
        listener.tell(progress);
        self.told = Some(Told {
            listener,
            left: RefCell::new(tensors),
            progress: Cell::new(progress),
        });
        self
    }

    /// Whether it was stopped before everything was read.
    pub(super) fn finish(&self) -> Result<(), Blip2Error> {
        if self.stopped.get() || self.cancel.is_cancelled() {
            return Err(Blip2Error::Cancelled);
        }
        Ok(())
    }

    fn stops(&self) -> bool {
        if self.cancel.is_cancelled() {
            self.stopped.set(true);
        }
        self.stopped.get()
    }

    /// Notes a tensor that was read.
    fn note<T>(&self, request: &TensorRequest<'_>, read: Option<T>) -> Option<T> {
        if read.is_some()
            && let Some(told) = &self.told
        {
            told.note(request.name);
        }
        read
    }
}

impl Told<'_> {
    fn note(&self, name: &str) {
        // A tensor that is asked for twice was read once.
        let Some(bytes) = self.left.borrow_mut().remove(name) else {
            return;
        };
        let mut progress = self.progress.get();
        progress.tensors_done += 1;
        progress.bytes_done += bytes;
        self.progress.set(progress);
        self.listener.tell(progress);
    }
}

impl WeightSource for Watched<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        if self.stops() {
            return None;
        }
        self.note(request, self.source.tensor(request))
    }

    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        if self.stops() {
            return None;
        }
        self.note(request, self.source.packed(request))
    }

    fn release(&self, request: &TensorRequest<'_>) {
        self.source.release(request);
    }

    fn contains(&self, name: &str) -> bool {
        self.source.contains(name)
    }

    fn differ(&self, name: &str, other: &str) -> bool {
        self.source.differ(name, other)
    }
}

/// Writes down what a model asks for, and gives it nothing.
pub(super) struct Asked<'s> {
    source: &'s dyn WeightSource,
    /// The bytes that a tensor takes in its file.
    bytes: &'s dyn Fn(&TensorRequest<'_>) -> u64,
    tensors: RefCell<BTreeMap<String, u64>>,
}

impl<'s> Asked<'s> {
    pub(super) fn new(
        source: &'s dyn WeightSource,
        bytes: &'s dyn Fn(&TensorRequest<'_>) -> u64,
    ) -> Self {
        Self {
            source,
            bytes,
            tensors: RefCell::default(),
        }
    }

    /// The tensors' names and bytes.
    pub(super) fn into_tensors(self) -> BTreeMap<String, u64> {
        self.tensors.into_inner()
    }
}

impl WeightSource for Asked<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let mut tensors = self.tensors.borrow_mut();
        tensors.insert(request.name.to_string(), (self.bytes)(request));
        None
    }

    fn contains(&self, name: &str) -> bool {
        self.source.contains(name)
    }

    fn differ(&self, name: &str, other: &str) -> bool {
        self.source.differ(name, other)
    }
}
