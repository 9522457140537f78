//! Results that are rounded where they are made: the input of the next product.
//!
//! A panel has as many outputs as a line has brain floats, so that what one product makes of a row is a line of the
//! next. Results in `f32` would be written and read again, twice as many bytes each time: what is inside an MLP
//! leaves the second level of the cache then.

use std::marker::PhantomData;

use super::layout::Layout;
use crate::kernel::{
    isa::{
        tile_kind::{Aligned, PANEL},
        unit::Line,
    },
    math,
};

/// The rows of an input of brain floats, of which each thread rounds lines of its own.
pub(crate) struct Rounding<'a> {
    start: *mut Line,
    layout: Layout,
    memory: PhantomData<&'a mut [Line]>,
}

// SAFETY: it stands for an exclusive borrow of lines, which may go to other threads; its memory is only touched by
// the method below, whose callers keep to lines of their own.
#[allow(unsafe_code)]
unsafe impl Sync for Rounding<'_> {}

impl<'a> Rounding<'a> {
    /// # Panics
    ///
    /// If there are fewer lines than the layout has.
    pub(super) fn new(layout: Layout, lines: &'a mut [Line]) -> Self {
        let last = layout.rows.checked_sub(1).zip(layout.chunks.checked_sub(1));
        assert!(last.is_none_or(|(row, chunk)| layout.line(row, chunk) < lines.len()));
        Self {
            start: lines.as_mut_ptr(),
            layout,
            memory: PhantomData,
        }
    }

    /// Rounds a panel's results of a row, of which there are `width`; what the line has left is 0.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn store(
        &self,
        row: usize,
        output: usize,
        width: usize,
        values: &Aligned<[f32; PANEL]>,
    ) {
        let chunk = output / PANEL;
        assert!(row < self.layout.rows && chunk < self.layout.chunks);
        let mut line: Line = Aligned([0; 64]);
        let places = line.as_chunks_mut::<2>().0.iter_mut();
        for (n, (place, &x)) in places.zip(values.iter()).enumerate() {
            let bits = if n < width { math::bf16_bits(x) } else { 0 };
            *place = (bits as u16).to_le_bytes();
        }
        // SAFETY: lines are in order of tiles, chunks and rows, so that by the comparisons above and in `new` this one
        // is inside the memory; nobody else touches it: callers keep to a part of their own.
        unsafe { self.start.add(self.layout.line(row, chunk)).write(line) }
    }
}
