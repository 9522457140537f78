//! An adapter put on a source of weights.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use blip2_io::{Adapter, IoError};
use blip2_kernels::{LowRankData, PackedMatrix, TensorRequest, WeightObserver, WeightSource};
use burn::tensor::TensorData;

use crate::error::Blip2Error;

/// The base's weights as an adapter has them: as a source it gives what the adapter replaces, as an
/// observer it adds what the adapter adds.
///
/// The two small matrices stay beside the base's own, whatever that is held in: merged into a matrix
/// of fewer bits, most of what they change would be rounded away. DoRA, which scales the sum's rows,
/// is merged.
pub(super) struct Adapted<'s> {
    adapter: &'s Adapter,
    source: &'s dyn WeightSource,
    /// By the base's names.
    layers: BTreeMap<String, Name<'s>>,
    whole: BTreeMap<String, Name<'s>>,
    fault: RefCell<Option<IoError>>,
}

/// The adapter's name for something of the base, and whether the model asked for it.
struct Name<'s> {
    own: &'s str,
    asked: Cell<bool>,
}

impl<'s> Adapted<'s> {
    /// Puts `adapter` on `source`; what it has no place for is refused by name.
    pub(super) fn new(
        adapter: &'s Adapter,
        source: &'s dyn WeightSource,
    ) -> Result<Self, Blip2Error> {
        let homeless = |name: &str| {
            let reason = "matches nothing in the model; it was made for another one";
            mismatch(adapter, name, reason)
        };
        let mut layers = BTreeMap::new();
        for own in adapter.layers() {
            let is_there = |layer: &str| {
                let weight = format!("{layer}.weight");
                source.contains(&weight) || twin_of(source, &weight).is_some()
            };
            let base = Adapter::name_in(own, is_there).ok_or_else(|| homeless(own))?;
            layers.insert(base, Name::new(own));
        }
        let mut whole = BTreeMap::new();
        for own in adapter.replaced() {
            let is_there = |name: &str| source.contains(name) || twin_of(source, name).is_some();
            let base = Adapter::name_in(own, is_there);
            whole.insert(base.ok_or_else(|| homeless(own))?, Name::new(own));
        }
        Ok(Self {
            adapter,
            source,
            layers,
            whole,
            fault: RefCell::default(),
        })
    }

    /// Refuses an adapter of which the model took only a part. `whole` says that the model reads all
    /// of its folder, but for names that end in one of `ignorable`.
    pub(super) fn finish(&self, whole: bool, ignorable: &[&str]) -> Result<(), Blip2Error> {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        let left = self.layers.iter().chain(&self.whole);
        let mut left = left.filter(|(_, name)| whole && !name.asked.get());
        match left.find(|(base, _)| !ignorable.iter().any(|end| base.ends_with(end))) {
            None => Ok(()),
            Some((_, name)) => {
                let reason = "is no linear layer of the model, and no tensor that it reads";
                Err(mismatch(self.adapter, name.own, reason).into())
            }
        }
    }

    /// Whether the base's tensor of this name is another one with the adapter; all others are the base's
    /// own, beside which something may stand.
    pub(super) fn changes(&self, name: &str) -> bool {
        let scaled = || {
            let layer = name.strip_suffix(".weight");
            let dora = self.adapter.config().use_dora;
            dora && layer.is_some_and(|layer| self.layers.contains_key(layer))
        };
        self.whole.contains_key(name) || scaled()
    }

    /// Notes what went wrong, for `finish`: a source and an observer cannot fail.
    fn noted<T>(&self, result: Result<T, IoError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                // The first is what the others follow from.
                self.fault.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    /// A tensor as the adapter itself has it, or as its base has. PEFT saves the matrices of heads beside
    /// what it adds to them.
    fn plain(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let Some(name) = self.whole.get(request.name) else {
            return self.base(request);
        };
        name.asked.set(true);
        let found = self.noted(self.adapter.replacement(name.own, request.shape))?;
        let held = request.storage(found.dtype());
        Some(found.convert_dtype(held))
    }

    /// The layer of a matrix that DoRA scales.
    fn scaled(&self, request: &TensorRequest<'_>) -> Option<&Name<'s>> {
        let layer = request.name.strip_suffix(".weight")?;
        let name = self.layers.get(layer)?;
        self.adapter.config().use_dora.then_some(name)
    }

    /// The matrix that DoRA makes of the one that it is put on.
    fn dora(&self, name: &Name<'_>, request: &TensorRequest<'_>) -> Option<TensorData> {
        name.asked.set(true);
        let plain = self.plain(request)?;
        self.noted(self.adapter.merged(name.own, plain, request.device))
    }

    /// The base's tensor; of one that the base does not have, the one that stands for it there.
    fn base(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        match twin_of(self.source, request.name) {
            Some(twin) if !self.source.contains(request.name) => {
                let name = twin.as_str();
                self.source.tensor(&TensorRequest { name, ..*request })
            }
            _ => self.source.tensor(request),
        }
    }
}

/// The tensor that stands for this one in a source that holds both once.
fn twin_of(source: &dyn WeightSource, name: &str) -> Option<String> {
    Adapter::originals(name).find(|original| source.contains(original))
}

impl WeightSource for Adapted<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        match self.scaled(request) {
            Some(name) => self.dora(name, request),
            None => self.plain(request),
        }
    }

    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        if self.whole.contains_key(request.name) || self.scaled(request).is_some() {
            return None;
        }
        self.source.packed(request)
    }

    fn release(&self, request: &TensorRequest<'_>) {
        self.source.release(request);
    }

    fn contains(&self, name: &str) -> bool {
        let layer = name.strip_suffix(".weight");
        let is_layer = layer.is_some_and(|layer| self.layers.contains_key(layer));
        is_layer || self.whole.contains_key(name) || self.source.contains(name)
    }

    /// An adapter that has numbers for one of two that are one in its base parts them.
    fn differ(&self, name: &str, other: &str) -> bool {
        let whole = |name: &str| self.whole.get(name).inspect(|name| name.asked.set(true));
        let is_layer = |name: &str| {
            let layer = name.strip_suffix(".weight").unwrap_or(name);
            self.layers.contains_key(layer)
        };
        // Whoever asks knows both, and may read one.
        match (whole(name), whole(other)) {
            _ if is_layer(name) || is_layer(other) => true,
            (Some(one), Some(other)) => !self.adapter.puts_the_same(one.own, other.own),
            (None, None) => self.source.differ(name, other),
            _ => true,
        }
    }
}

impl WeightObserver for Adapted<'_> {
    fn low_rank(&self, request: &TensorRequest<'_>) -> Option<LowRankData> {
        let &[outputs, inputs] = request.shape else {
            return None;
        };
        let layer = request.name.strip_suffix(".weight")?;
        let name = self.layers.get(layer)?;
        name.asked.set(true);
        if self.adapter.config().use_dora {
            return None;
        }
        self.noted(self.adapter.low_rank(name.own, [outputs, inputs]))
    }
}

impl<'s> Name<'s> {
    fn new(own: &'s str) -> Self {
        let asked = Cell::new(false);
        Self { own, asked }
    }
}

fn mismatch(adapter: &Adapter, name: &str, reason: &str) -> IoError {
    adapter.mismatch(format!("`{name}` {reason}"))
}
