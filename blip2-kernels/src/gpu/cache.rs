//! Keys and values in a device's memory, written in place.

#![allow(unsafe_code)] // launches of kernels

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{DType, Int, Tensor};
use burn_cubecl::{
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::tensors::{self, UNITS, as_it_lies, buffer, elements, empty, lift};
use super::{count, counter::Counter};

/// Keys and values, each `[rows, groups, capacity, head_dim]`, of which `len` places count.
#[derive(Debug)]
pub(crate) struct DeviceCache {
    buffers: [CubeTensor; 2],
    len: usize,
    /// Keys and values of the last place, until attention, or whoever else reads the buffers, has
    /// written them: that saves a launch of each step.
    newest: Mutex<Option<Newest>>,
    /// Where kernels read how many places there are, if not from what they are told.
    counter: Option<Counter>,
}

/// Keys and values, each `[rows, groups, 1, head_dim]`.
pub(crate) type Newest = [CubeTensor; 2];

impl Clone for DeviceCache {
    fn clone(&self) -> Self {
        // Both may write it: it is the same, and goes to the same place.
        Self {
            buffers: self.buffers.clone(),
            len: self.len,
            newest: Mutex::new(self.held_back().clone()),
            counter: self.counter.clone(),
        }
    }
}

/// How the numbers of a tensor lie.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
struct Steps {
    batch: usize,
    head: usize,
    index: usize,
    inner: usize,
}

/// The shape of what is written, and where it goes.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
struct Extent {
    groups: usize,
    new: usize,
    width: usize,
    capacity: usize,
    first: usize,
    len: usize,
}

/// A unit writes a number of the keys and one of the values.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn write(
    keys: &[f32],
    values: &[f32],
    held_keys: &mut [f32],
    held_values: &mut [f32],
    keys_at: Steps,
    values_at: Steps,
    extent: Extent,
) {
    if ABSOLUTE_POS < extent.len {
        let inner = ABSOLUTE_POS % extent.width;
        let index = ABSOLUTE_POS / extent.width % extent.new;
        let head = ABSOLUTE_POS / extent.width / extent.new % extent.groups;
        let batch = ABSOLUTE_POS / extent.width / extent.new / extent.groups;
        let row = (batch * extent.groups + head) * extent.capacity + extent.first + index;
        let to = row * extent.width + inner;
        let from = batch * keys_at.batch + head * keys_at.head;
        held_keys[to] = keys[from + index * keys_at.index + inner * keys_at.inner];
        let from = batch * values_at.batch + head * values_at.head;
        held_values[to] = values[from + index * values_at.index + inner * values_at.inner];
    }
}

impl DeviceCache {
    /// A cache of first places with room for `capacity`; `None` for tensors that are elsewhere.
    pub(crate) fn new(keys: &Tensor<4>, values: &Tensor<4>, capacity: usize) -> Option<Self> {
        if keys.dims() != values.dims() || keys.dims().contains(&0) {
            return None;
        }
        let [rows, groups, new, width] = keys.dims();
        let (keys, values) = (as_it_lies(keys)?, as_it_lies(values)?);
        let mut cache = Self::empty(&keys, [rows, groups, capacity.max(new), width]);
        cache.write(&keys, &values, [0, new]);
        cache.len = new;
        Some(cache)
    }

    fn empty(neighbour: &CubeTensor, shape: [usize; 4]) -> Self {
        let buffer = || empty(neighbour, shape, DType::F32);
        Self {
            buffers: [buffer(), buffer()],
            len: 0,
            newest: Mutex::new(None),
            counter: None,
        }
    }

    /// Kernels read from now on in `counter`, which counts the same, how many places there are; or are told
    /// so, as at first.
    pub(crate) fn count_by(&mut self, counter: Option<&Counter>) {
        self.settle();
        self.counter = counter.cloned();
    }

    pub(crate) fn counter(&self) -> Option<&Counter> {
        self.counter.as_ref()
    }

    /// Notes that what follows tells a kernel how many places there are.
    pub(crate) fn note_told(&self) {
        if let Some(counter) = &self.counter {
            counter.note_told();
        }
    }

    /// The places for which there is room.
    pub(crate) fn capacity(&self) -> usize {
        self.dims()[2]
    }

    /// Counts a place that kernels wrote without this cache being told of it, for which there was room.
    pub(crate) fn note_written(&mut self) {
        self.len += 1;
    }

    fn held_back(&self) -> MutexGuard<'_, Option<Newest>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys and values of the last place, if they are not written: whoever takes them writes them.
    pub(crate) fn take_newest(&self) -> Option<Newest> {
        self.held_back().take()
    }

    /// Writes what [was taken](Self::take_newest).
    pub(crate) fn write_newest(&self, [keys, values]: &Newest) {
        self.note_told();
        self.write(keys, values, [self.len.saturating_sub(1), 1]);
    }

    /// Writes what is not yet written.
    fn settle(&self) {
        if let Some(newest) = self.take_newest() {
            self.write_newest(&newest);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn dims(&self) -> [usize; 4] {
        let shape = self.buffers[0].meta.shape();
        [shape[0], shape[1], shape[2], shape[3]]
    }

    pub(crate) fn rows(&self) -> usize {
        self.dims()[0]
    }

    pub(crate) fn groups(&self) -> usize {
        self.dims()[1]
    }

    pub(crate) fn drop_last(&mut self, count: usize) {
        if count > 0 {
            self.take_newest();
        }
        self.len = self.len.saturating_sub(count);
    }

    /// Keys and values as they lie, with room behind those that count; without the
    /// [newest](Self::take_newest).
    pub(crate) fn buffers(&self) -> &[CubeTensor; 2] {
        &self.buffers
    }

    /// Takes new places behind those held; `false`, and nothing taken, for tensors that are elsewhere.
    pub(crate) fn append(&mut self, keys: &Tensor<4>, values: &Tensor<4>) -> bool {
        let [rows, groups, new, width] = keys.dims();
        let [held, held_groups, capacity, held_width] = self.dims();
        let fit = [rows, groups, width] == [held, held_groups, held_width];
        let (Some(keys), Some(values)) = (as_it_lies(keys), as_it_lies(values)) else {
            return false;
        };
        if !fit || new == 0 {
            return false;
        }
        self.settle();
        let end = self.len + new;
        let shared = self.buffers.iter().any(|buffer| !buffer.handle.can_mut());
        if end > capacity || shared {
            self.renew(if end > capacity {
                end.next_power_of_two()
            } else {
                capacity
            });
        }
        match new {
            1 => *self.held_back() = Some([keys, values]),
            _ => self.write(&keys, &values, [self.len, new]),
        }
        self.len = end;
        true
    }

    /// Moves into buffers of its own with room for `capacity`.
    fn renew(&mut self, capacity: usize) {
        self.note_told();
        let [rows, groups, _, width] = self.dims();
        let mut larger = Self::empty(&self.buffers[0], [rows, groups, capacity, width]);
        let [keys, values] = &self.buffers;
        larger.write(keys, values, [0, self.len]);
        larger.len = self.len;
        *self = larger;
    }

    /// Writes the first `new` places of `keys` and `values` from the place `first` on, for which there is
    /// room.
    fn write(&self, keys: &CubeTensor, values: &CubeTensor, [first, new]: [usize; 2]) {
        let [rows, groups, capacity, width] = self.dims();
        let len = rows * groups * new * width;
        // Keys and values, each read and written.
        count::moves(4 * 4 * len);
        let steps = |tensor: &CubeTensor| {
            let strides = tensor.meta.strides();
            StepsLaunch::new(strides[0], strides[1], strides[2], strides[3])
        };
        let all = |tensor: &CubeTensor| buffer(tensor, tensor.handle.size_in_used() as usize / 4);
        let [held_keys, held_values] = &self.buffers;
        // SAFETY: a unit reads a number of either tensor by its shape and strides, and writes it to a
        // place of a row that has room, which no other launch is given: the buffers are this cache's
        // alone.
        unsafe {
            write::launch_unchecked(
                &keys.client,
                tensors::cubes(len.div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                all(keys),
                all(values),
                buffer(held_keys, elements(held_keys)),
                buffer(held_values, elements(held_values)),
                steps(keys),
                steps(values),
                ExtentLaunch::new(groups, new, width, capacity, first, len),
            );
        }
    }

    /// Keys and values, each `[rows, groups, len, head_dim]`.
    pub(crate) fn tensors(&self) -> (Tensor<4>, Tensor<4>) {
        self.note_told();
        self.settle();
        let [keys, values] = &self.buffers;
        let part = |buffer: &CubeTensor| lift::<4>(buffer.clone()).narrow(2, 0, self.len);
        (part(keys), part(values))
    }

    /// Keeps the sequences `rows`, in that order.
    pub(crate) fn select(&mut self, rows: &[usize]) {
        self.settle();
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        for buffer in &mut self.buffers {
            let tensor = lift::<4>(buffer.clone());
            let places = Tensor::<1, Int>::from_data(rows.as_slice(), &tensor.device());
            if let Some(selected) = tensors::lower(&tensor.select(0, places)) {
                *buffer = selected;
            }
        }
    }
}
