//! Keys and values in a device's memory, written in place.

#![allow(unsafe_code)] // launches of kernels

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{DType, Tensor};
use burn_cubecl::{
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::{
    count,
    counter::Counter,
    rows::{RowTable, RowTables, Rows, row_of},
    tensors::{self, UNITS, as_it_lies, buffer, elements, empty, lift},
};

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
    /// Which row has a place of a sequence, once they moved.
    table: Option<Arc<RowTable>>,
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
            table: match &self.counter {
                // Whoever counts moves the sequences where they lie.
                Some(_) => self.own_table(),
                None => self.table.clone(),
            },
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
    /// Places of a sequence in the table of the rows that are read, where there is one.
    row: usize,
}

/// A unit writes a number of the keys and one of the values.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn write(
    keys: &[f32],
    values: &[f32],
    rows: &[u32],
    held_keys: &mut [f32],
    held_values: &mut [f32],
    keys_at: Steps,
    values_at: Steps,
    extent: Extent,
    #[comptime] has_rows: bool,
) {
    if ABSOLUTE_POS < extent.len {
        let inner = ABSOLUTE_POS % extent.width;
        let index = ABSOLUTE_POS / extent.width % extent.new;
        let head = ABSOLUTE_POS / extent.width / extent.new % extent.groups;
        let batch = ABSOLUTE_POS / extent.width / extent.new / extent.groups;
        let row = (batch * extent.groups + head) * extent.capacity + extent.first + index;
        let to = row * extent.width + inner;
        let read = row_of(rows, batch, index, extent.row, has_rows);
        let from = read * keys_at.batch + head * keys_at.head;
        held_keys[to] = keys[from + index * keys_at.index + inner * keys_at.inner];
        let from = read * values_at.batch + head * values_at.head;
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
        cache.write(&keys, &values, [0, new], None);
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
            table: None,
        }
    }

    /// Kernels read from now on in `counter`, which counts the same, how many places there are and in which rows
    /// they are; or are told so, as at first. `false`, and nothing changed, for a counter of other rows.
    pub(crate) fn count_by(&mut self, counter: Option<&Counter>) -> bool {
        self.settle();
        if let Some(counter) = counter {
            let [held, counted] =
                [self.table.as_ref(), counter.table()].map(|table| table.map(|table| table.rows()));
            if held != counted {
                return false;
            }
            self.table = counter.table().cloned();
        } else if self.counter.is_some() {
            // That of the counter moves for others.
            self.table = self.own_table();
        }
        self.counter = counter.cloned();
        true
    }

    /// A counter of what is held here.
    pub(crate) fn counter_of_all(&self) -> Option<Counter> {
        Counter::new(&self.buffers[0], self.len, self.own_table())
    }

    /// The table once more, which nobody else has.
    fn own_table(&self) -> Option<Arc<RowTable>> {
        let table = self.table.as_ref()?;
        Some(Arc::new(RowTable::new(table.rows(), &self.buffers[0])))
    }

    /// Which row has a place of a sequence, if they moved.
    pub(crate) fn table(&self) -> Option<&RowTable> {
        self.table.as_deref()
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
        self.write(keys, values, [self.len.saturating_sub(1), 1], None);
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
        let moved = self.table.as_ref().map(|table| table.sequences());
        moved.unwrap_or(self.dims()[0])
    }

    pub(crate) fn groups(&self) -> usize {
        self.dims()[1]
    }

    pub(crate) fn drop_last(&mut self, count: usize) {
        if count > 0 {
            self.take_newest();
        }
        self.len = self.len.saturating_sub(count);
        let Some(table) = &self.table else { return };
        // What comes in their place goes to each sequence's own row.
        let all: Vec<usize> = (0..table.sequences()).collect();
        let rows = table.rows().selected(&all, self.len);
        if rows != table.rows() {
            self.note_told();
            self.table = Some(Arc::new(RowTable::new(rows, &self.buffers[0])));
        }
    }

    /// Keys and values as they lie, with room behind those that count; without the
    /// [newest](Self::take_newest).
    pub(crate) fn buffers(&self) -> &[CubeTensor; 2] {
        &self.buffers
    }

    /// Takes new places behind those held; `false`, and nothing taken, for tensors that are elsewhere.
    pub(crate) fn append(&mut self, keys: &Tensor<4>, values: &Tensor<4>) -> bool {
        let [rows, groups, new, width] = keys.dims();
        if rows == 0 && self.rows() == 0 {
            // Of no sequences nothing is kept, and a device has no memory of no bytes.
            self.len += new;
            return true;
        }
        let [_, held_groups, capacity, held_width] = self.dims();
        let fit = [rows, groups, width] == [self.rows(), held_groups, held_width];
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
            _ => self.write(&keys, &values, [self.len, new], None),
        }
        self.len = end;
        true
    }

    /// Moves into buffers of its own with room for `capacity`.
    fn renew(&mut self, capacity: usize) {
        self.note_told();
        *self = self.gathered(self.table.as_deref(), capacity);
    }

    /// The same in buffers of their own with room for `capacity`, each sequence in its own row; those of `table`, if
    /// there is one.
    fn gathered(&self, table: Option<&RowTable>, capacity: usize) -> Self {
        let [held, groups, _, width] = self.dims();
        let rows = table.map_or(held, RowTable::sequences);
        let mut gathered = Self::empty(&self.buffers[0], [rows, groups, capacity, width]);
        let [keys, values] = &self.buffers;
        gathered.write(keys, values, [0, self.len], table);
        gathered.len = self.len;
        gathered
    }

    /// Writes the first `new` places of `keys` and `values`, in which the rows of `table` are read, from the place
    /// `first` on, for which there is room, to each sequence's own row.
    fn write(
        &self,
        keys: &CubeTensor,
        values: &CubeTensor,
        [first, new]: [usize; 2],
        table: Option<&RowTable>,
    ) {
        let [_, groups, capacity, width] = self.dims();
        let len = self.rows() * groups * new * width;
        let row = keys.meta.shape()[2];
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
                table.map_or_else(|| all(keys), RowTable::buffer),
                buffer(held_keys, elements(held_keys)),
                buffer(held_values, elements(held_values)),
                steps(keys),
                steps(values),
                ExtentLaunch::new(groups, new, width, capacity, first, len, row),
                table.is_some(),
            );
        }
    }

    /// Keys and values, each `[rows, groups, len, head_dim]`.
    pub(crate) fn tensors(&self) -> (Tensor<4>, Tensor<4>) {
        self.note_told();
        self.settle();
        let own = self.table.as_ref();
        let own = own.map(|table| self.gathered(Some(table), self.len));
        let [keys, values] = &own.as_ref().unwrap_or(self).buffers;
        let part = |buffer: &CubeTensor| lift::<4>(buffer.clone()).narrow(2, 0, self.len);
        (part(keys), part(values))
    }

    /// Keeps the sequences `chosen`, in that order; `tables` has those that were made so far for caches that hold
    /// the same places.
    pub(crate) fn select(&mut self, chosen: &[usize], tables: &mut RowTables) {
        self.settle();
        if chosen.iter().copied().eq(0..self.rows()) {
            return;
        }
        self.note_told();
        let [held, _, capacity, _] = self.dims();
        let rows = match &self.table {
            Some(table) => table.rows(),
            None => Rows::own(held, capacity),
        };
        let table = tables.of(rows.selected(chosen, self.len), &self.buffers[0]);
        // Of no sequences nothing is read, and a device has no memory of no bytes.
        if chosen.is_empty() || chosen.len() <= held && 4 * chosen.len() > held {
            self.table = Some(table);
            return;
        }
        // More than there are rows for, or so few that what the others hold is worth having back.
        *self = self.gathered(Some(&table), capacity);
        if repeats(chosen) {
            // They will part, and move: a step that is recorded reads a table from the first on.
            self.table = Some(tables.of(Rows::own(chosen.len(), capacity), &self.buffers[0]));
        }
    }
}

/// Whether a sequence is chosen more than once.
fn repeats(chosen: &[usize]) -> bool {
    let mut sorted = chosen.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}
