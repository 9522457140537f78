//! Who holds the keys and values of positions seen so far.

#[cfg(test)]
use burn::tensor::Device;
use burn::tensor::Tensor;

use super::{attention::Operands, burn_ops::cache::TensorCache};
#[cfg(feature = "gpu")]
use crate::gpu::{cache::DeviceCache, rows::RowTables};
#[cfg(feature = "flex")]
use crate::kernel::cache::SharedCache;
use crate::replay::PlaceCounter;

/// Keys and values, by whoever holds them.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// Nobody, before the first position: nothing but the number of sequences.
    Empty { rows: usize },
    /// The kernels: sequences share what they have in common, and no key or value is ever moved.
    #[cfg(feature = "flex")]
    Shared(Box<SharedCache>),
    /// A GPU, whose kernels write them in place.
    #[cfg(feature = "gpu")]
    OnDevice(Box<DeviceCache>),
    /// Tensors of Burn, whose rows are copied.
    Tensors(Box<TensorCache>),
}

/// What caches that hold the same positions share when the same sequences of each are selected.
#[derive(Debug, Default)]
pub(crate) struct Selecting {
    #[cfg(feature = "gpu")]
    tables: RowTables,
}

impl Storage {
    /// The number of positions held.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty { .. } => 0,
            #[cfg(feature = "flex")]
            Self::Shared(cache) => cache.len(),
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => cache.len(),
            Self::Tensors(cache) => cache.len(),
        }
    }

    /// The number of sequences held.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Empty { rows } => *rows,
            #[cfg(feature = "flex")]
            Self::Shared(cache) => cache.rows(),
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => cache.rows(),
            Self::Tensors(cache) => cache.rows(),
        }
    }

    /// Writes new positions behind those held, `[rows, heads, new, head_dim]`; the first make room for
    /// `capacity`.
    #[cfg_attr(
        not(any(feature = "flex", feature = "gpu")),
        allow(unreachable_code, unused_variables) // nothing moves where there are tensors alone
    )]
    pub(crate) fn append(&mut self, keys: Tensor<4>, values: Tensor<4>, capacity: usize) {
        let held: (Tensor<4>, Tensor<4>) = match self {
            Self::Empty { .. } => {
                *self = Self::first(keys, values, capacity);
                return;
            }
            #[cfg(feature = "flex")]
            Self::Shared(cache) => match cache.append(&keys, &values) {
                true => return,
                false => cache.tensors(),
            },
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => match cache.append(&keys, &values) {
                true => return,
                false => cache.tensors(),
            },
            Self::Tensors(cache) => return cache.append(keys, values),
        };
        // Tensors from elsewhere than the first: what is held follows them.
        let device = keys.device();
        let (held, held_values) = (held.0.to_device(&device), held.1.to_device(&device));
        let mut cache = TensorCache::new(held, held_values, capacity);
        cache.append(keys, values);
        *self = Self::Tensors(Box::new(cache));
    }

    /// Who holds these first positions, with room for `capacity`.
    fn first(keys: Tensor<4>, values: Tensor<4>, capacity: usize) -> Self {
        #[cfg(feature = "flex")]
        if let Some(cache) = SharedCache::new(&keys, &values, capacity) {
            return Self::Shared(Box::new(cache));
        }
        #[cfg(feature = "gpu")]
        if let Some(cache) = DeviceCache::new(&keys, &values, capacity) {
            return Self::OnDevice(Box::new(cache));
        }
        Self::Tensors(Box::new(TensorCache::new(keys, values, capacity)))
    }

    /// Queries, and keys and values where they are held.
    pub(crate) fn operands(&self, q: Tensor<4>) -> Operands<'_> {
        match self {
            Self::Empty { .. } => Operands::Nothing { q },
            #[cfg(feature = "flex")]
            Self::Shared(cache) => Operands::Shared { q, cache },
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => Operands::OnDevice { q, cache },
            Self::Tensors(cache) => {
                let (k, v) = cache.tensors();
                let (k, v) = (k.to_device(&q.device()), v.to_device(&q.device()));
                Operands::Apart { q, k, v }
            }
        }
    }

    /// Keys and values, each `[rows, heads, len, head_dim]`; `None` before the first position.
    #[cfg(test)]
    pub(crate) fn tensors(&self, device: &Device) -> Option<(Tensor<4>, Tensor<4>)> {
        let (keys, values) = match self {
            Self::Empty { .. } => return None,
            #[cfg(feature = "flex")]
            Self::Shared(cache) => cache.tensors(),
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => cache.tensors(),
            Self::Tensors(cache) => cache.tensors(),
        };
        Some((keys.to_device(device), values.to_device(device)))
    }

    /// Drops the last `count` positions of every sequence.
    pub(crate) fn drop_last(&mut self, count: usize) {
        match self {
            Self::Empty { .. } => {}
            #[cfg(feature = "flex")]
            Self::Shared(cache) => cache.drop_last(count),
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => cache.drop_last(count),
            Self::Tensors(cache) => cache.drop_last(count),
        }
    }

    /// As [`crate::KvCache::count_by`].
    pub(crate) fn count_by(&mut self, counter: Option<&PlaceCounter>) -> bool {
        #[cfg(feature = "gpu")]
        if let Self::OnDevice(cache) = self {
            return cache.count_by(counter.map(|counter| &counter.inner));
        }
        counter.is_none()
    }

    /// As [`crate::KvCache::counter`].
    pub(crate) fn counter(&self) -> Option<PlaceCounter> {
        match self {
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => cache.counter_of_all().map(|inner| PlaceCounter { inner }),
            _ => None,
        }
    }

    /// As [`crate::KvCache::capacity`].
    pub(crate) fn capacity(&self) -> Option<usize> {
        match self {
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => Some(cache.capacity()),
            _ => None,
        }
    }

    /// As [`crate::KvCache::note_written`].
    pub(crate) fn note_written(&mut self) {
        #[cfg(feature = "gpu")]
        if let Self::OnDevice(cache) = self {
            cache.note_written();
        }
    }

    /// Keeps the sequences `rows`, in that order.
    #[cfg_attr(not(feature = "gpu"), allow(unused_variables))] // only a device's caches share anything
    pub(crate) fn select(&mut self, rows: &[usize], selecting: &mut Selecting) {
        match self {
            Self::Empty { rows: held } => *held = rows.len(),
            #[cfg(feature = "flex")]
            Self::Shared(cache) => cache.select(rows),
            #[cfg(feature = "gpu")]
            Self::OnDevice(cache) => cache.select(rows, &mut selecting.tables),
            Self::Tensors(cache) => cache.select(rows),
        }
    }
}
