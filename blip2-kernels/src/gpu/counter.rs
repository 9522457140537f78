//! How many places caches hold, where kernels read it: of a step that is recorded, all else is the same
//! in the next.

#![allow(unsafe_code)] // launches of kernels

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use burn::tensor::DType;
use burn_cubecl::{
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::{
    count,
    rows::RowTable,
    tensors::{buffer, empty},
};

#[cube(launch_unchecked)]
fn begin(count: &mut [u32], places: u32) {
    if ABSOLUTE_POS == 0 {
        count[0] = places;
    }
}

#[cube(launch_unchecked)]
fn add_one(count: &mut [u32]) {
    if ABSOLUTE_POS == 0 {
        count[0] += 1;
    }
}

/// A number of places in a device's memory.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    count: CubeTensor,
    /// Whether a kernel was told a number of places of its own.
    told: Arc<AtomicBool>,
    /// Which row has a place of a sequence, if they move: the caches' that count here, and nobody else's.
    table: Option<Arc<RowTable>>,
}

impl Counter {
    /// Counts on from `places`, on the device of `neighbour`.
    pub(super) fn new(
        neighbour: &CubeTensor,
        places: usize,
        table: Option<Arc<RowTable>>,
    ) -> Option<Self> {
        let places = u32::try_from(places).ok()?;
        let count = empty(neighbour, [1], DType::U32);
        // SAFETY: one unit writes the only number.
        unsafe {
            begin::launch_unchecked(
                &count.client,
                CubeCount::Static(1, 1, 1),
                CubeDim::new_1d(1),
                buffer(&count, 1),
                places,
            );
        }
        Some(Self {
            count,
            told: Arc::default(),
            table,
        })
    }

    pub(super) fn table(&self) -> Option<&Arc<RowTable>> {
        self.table.as_ref()
    }

    /// Moves the sequences of all caches that count here, of which each holds `places`.
    pub(crate) fn move_rows(&self, chosen: &[usize], places: usize) -> bool {
        let table = self.table.as_ref();
        table.is_some_and(|table| table.move_in_place(chosen, places))
    }

    /// Counts one more.
    pub(crate) fn add_one(&self) {
        count::moves(8);
        // SAFETY: one unit reads and writes the only number.
        unsafe {
            add_one::launch_unchecked(
                &self.count.client,
                CubeCount::Static(1, 1, 1),
                CubeDim::new_1d(1),
                buffer(&self.count, 1),
            );
        }
    }

    pub(super) fn buffer(&self) -> BufferArg {
        buffer(&self.count, 1)
    }

    /// Notes that a kernel is told a number of places, which would be the same if it ran again.
    pub(super) fn note_told(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// Whether every kernel so far read its number of places here.
    pub(crate) fn is_read(&self) -> bool {
        !self.told.load(Ordering::Relaxed)
    }
}
