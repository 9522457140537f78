//! Which row of a cache's memory holds a place of a sequence.
//!
//! Sequences that are kept, repeated and reordered, as beams are at every step, move in this table alone: keys
//! and values stay where they were written (as in PagedAttention; Kwon et al., 2023). A new place
//! of a sequence goes to the row of its own number, where it is as new as everywhere else.

#![allow(unsafe_code)] // launches of kernels

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{DType, Shape};
use burn_cubecl::{
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::{
    count,
    tensors::{self, UNITS, buffer, elements},
};

#[cube(launch_unchecked)]
fn copy(from: &[u32], to: &mut [u32], len: usize) {
    if ABSOLUTE_POS < len {
        to[ABSOLUTE_POS] = from[ABSOLUTE_POS];
    }
}

/// The row of a place of the sequence `batch`, of which the table has `capacity`; its own where there is no table.
#[cube]
pub(super) fn row_of(
    rows: &[u32],
    batch: usize,
    place: usize,
    capacity: usize,
    #[comptime] has_rows: bool,
) -> usize {
    let mut row = batch;
    if has_rows {
        row = usize::cast_from(rows[batch * capacity + place]);
    }
    row
}

/// The rows of all places that sequences have room for, one sequence behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rows {
    of: Vec<u32>,
    sequences: usize,
    capacity: usize,
}

impl Rows {
    /// Every sequence in the row of its own number.
    pub(super) fn own(sequences: usize, capacity: usize) -> Self {
        let of = (0..sequences).flat_map(|row| std::iter::repeat_n(row as u32, capacity));
        Self {
            of: of.collect(),
            sequences,
            capacity,
        }
    }

    /// The sequences `chosen`, in that order, of each of which `len` places are held.
    pub(super) fn selected(&self, chosen: &[usize], len: usize) -> Self {
        let len = len.min(self.capacity);
        let of = chosen.iter().enumerate().flat_map(|(own, &sequence)| {
            let held = &self.of[sequence * self.capacity..][..len];
            let new = std::iter::repeat_n(own as u32, self.capacity - len);
            held.iter().copied().chain(new)
        });
        Self {
            of: of.collect(),
            sequences: chosen.len(),
            capacity: self.capacity,
        }
    }
}

/// Rows that kernels read.
#[derive(Debug)]
pub(crate) struct RowTable {
    rows: Mutex<Rows>,
    held: CubeTensor,
    sequences: usize,
}

impl RowTable {
    /// On the device of `neighbour`.
    pub(super) fn new(rows: Rows, neighbour: &CubeTensor) -> Self {
        Self {
            sequences: rows.sequences,
            held: upload(&rows, neighbour),
            rows: Mutex::new(rows),
        }
    }

    fn known(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rows(&self) -> Rows {
        self.known().clone()
    }

    pub(super) fn sequences(&self) -> usize {
        self.sequences
    }

    pub(super) fn buffer(&self) -> BufferArg {
        buffer(&self.held, elements(&self.held))
    }

    /// Moves the sequences to those that are `chosen`, for all that read this table, where it lies; `false`, and
    /// nothing moved, for another number of sequences.
    pub(super) fn move_in_place(&self, chosen: &[usize], len: usize) -> bool {
        let mut rows = self.known();
        if chosen.len() != rows.sequences {
            return false;
        }
        let moved = rows.selected(chosen, len);
        if moved != *rows {
            copy_into(&upload(&moved, &self.held), &self.held);
            *rows = moved;
        }
        true
    }
}

fn upload(rows: &Rows, neighbour: &CubeTensor) -> CubeTensor {
    // A device has no memory of no bytes.
    let words = if rows.of.is_empty() {
        &[0]
    } else {
        rows.of.as_slice()
    };
    let mut bytes = Vec::with_capacity(4 * words.len());
    words
        .iter()
        .for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
    let handle = neighbour.client.create_from_slice(&bytes);
    let (client, device) = (neighbour.client.clone(), neighbour.device.clone());
    CubeTensor::new_contiguous(
        client,
        device,
        Shape::from([words.len()]),
        handle,
        DType::U32,
    )
}

fn copy_into(from: &CubeTensor, to: &CubeTensor) {
    let len = elements(from).min(elements(to));
    count::moves(2 * 4 * len);
    // SAFETY: a unit reads a number of one tensor and writes it to the same place of the other, and
    // both have that many.
    unsafe {
        copy::launch_unchecked(
            &to.client,
            tensors::cubes(len.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            buffer(from, elements(from)),
            buffer(to, elements(to)),
            len,
        );
    }
}

/// The tables of caches that hold the same places, as their sequences move: what is equal is one.
#[derive(Debug, Default)]
pub(crate) struct RowTables(Vec<Arc<RowTable>>);

impl RowTables {
    /// A table of these rows.
    pub(super) fn of(&mut self, rows: Rows, neighbour: &CubeTensor) -> Arc<RowTable> {
        let alike = |table: &&Arc<RowTable>| {
            table.held.device == neighbour.device && *table.known() == rows
        };
        if let Some(table) = self.0.iter().find(alike) {
            return table.clone();
        }
        let table = Arc::new(RowTable::new(rows, neighbour));
        self.0.push(table.clone());
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_places_stay_where_they_are_and_new_ones_go_to_a_sequence_s_own_row() {
        let rows = Rows::own(3, 4);
        assert_eq!(rows.of, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
        let rows = rows.selected(&[2, 2, 0], 2);
        assert_eq!(rows.of, [2, 2, 0, 0, 2, 2, 1, 1, 0, 0, 2, 2]);
        // A place further, the first of them goes on twice.
        let rows = rows.selected(&[0, 0], 3);
        assert_eq!(rows.of, [2, 2, 0, 0, 2, 2, 0, 1]);
        assert_eq!(rows.sequences, 2);
        assert_eq!(rows.selected(&[], 3).of, []);
    }
}
