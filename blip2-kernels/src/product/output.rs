//! The result of a product while several threads write it.

use std::{marker::PhantomData, mem::MaybeUninit};

use crate::isa::tile::{Aligned, PANEL};
#[cfg(feature = "autodiff")]
use {
    crate::{
        isa::{
            Isa,
            plain::{self, Place, View},
        },
        threads,
    },
    std::sync::atomic::{AtomicUsize, Ordering},
};

/// The result, of which each thread writes rows or columns of its own.
///
/// Its memory is not cleared before: that alone would take a twentieth of an encoder's product.
pub(crate) struct Output<'a> {
    start: *mut f32,
    rows: usize,
    pub(super) outputs: usize,
    memory: PhantomData<&'a mut [f32]>,
    /// How many numbers products have put there.
    #[cfg(feature = "autodiff")]
    put: AtomicUsize,
}

// SAFETY: it stands for an exclusive borrow of floats, which may go to other threads;
// its memory is only touched by the methods below, whose callers keep to a part of their own.
#[allow(unsafe_code)]
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    /// Writes to the beginning of `memory`.
    pub(crate) fn new(memory: &'a mut [MaybeUninit<f32>], rows: usize, outputs: usize) -> Self {
        assert!(memory.len() >= rows * outputs);
        Self {
            start: memory.as_mut_ptr().cast(),
            rows,
            outputs,
            memory: PhantomData,
            #[cfg(feature = "autodiff")]
            put: AtomicUsize::new(0),
        }
    }

    /// Writes to memory that holds rows of `outputs` numbers.
    #[cfg(feature = "autodiff")]
    pub(crate) fn filled(values: &'a mut [f32], outputs: usize) -> Self {
        Self {
            start: values.as_mut_ptr(),
            rows: values.len().checked_div(outputs).unwrap_or(0),
            outputs,
            memory: PhantomData,
            #[cfg(feature = "autodiff")]
            put: AtomicUsize::new(0),
        }
    }

    /// Where the results of `row` from `output` on lie, of which there are `width`.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) fn place(&self, row: usize, output: usize, width: usize) -> *mut f32 {
        assert!(row < self.rows && output + width <= self.outputs);
        // SAFETY: by the comparisons above and in `new`, this is inside the memory.
        unsafe { self.start.add(row * self.outputs + output) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) fn store(
        &self,
        row: usize,
        output: usize,
        width: usize,
        values: &Aligned<[f32; PANEL]>,
    ) {
        let place = self.place(row, output, width);
        // SAFETY: `place` is good for so many, and nobody else touches them: callers keep to a
        // part of their own.
        unsafe {
            if width == PANEL {
                // A whole panel is written without a call.
                place.cast::<[f32; PANEL]>().write_unaligned(values.0);
            } else {
                let values = &values[..width];
                values.as_ptr().copy_to_nonoverlapping(place, width);
            }
        }
    }

    /// Reads what was stored for an earlier block.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) fn load(&self, row: usize, output: usize, width: usize) -> Aligned<[f32; PANEL]> {
        let place = self.place(row, output, width);
        // SAFETY: as in `store`, and the memory is initialised: a block is loaded for the second
        // block of a panel at the earliest, when the same thread has stored the first.
        unsafe {
            if width == PANEL {
                return Aligned(place.cast::<[f32; PANEL]>().read_unaligned());
            }
            let mut values = Aligned([0.0; PANEL]);
            let held = &mut values[..width];
            held.as_mut_ptr().copy_from_nonoverlapping(place, width);
            values
        }
    }

    /// Puts `a · b` of `dims` (rows, what is summed over, columns) at a row and a column, or adds it
    /// to what was put there.
    #[cfg(feature = "autodiff")]
    #[allow(unsafe_code)]
    pub(crate) fn multiply(
        &self,
        isa: Isa,
        operands: [View<'_>; 2],
        dims: [usize; 3],
        [row, column]: [usize; 2],
        add: bool,
    ) {
        let [rows, _, columns] = dims;
        if rows == 0 || columns == 0 {
            return;
        }
        let start = self.place(row, column, columns);
        self.place(row + rows - 1, column, columns);
        let place = Place {
            start,
            stride: self.outputs,
        };
        // SAFETY: both corners are inside the memory, and nobody else touches what is between, as in
        // `store`; what is added to was put there before.
        unsafe { plain::multiply(isa, operands, dims, place, add) };
        if !add {
            self.put.fetch_add(rows * columns, Ordering::Relaxed);
        }
    }

    /// The whole, when [products](Self::multiply) have put all of it there.
    #[cfg(feature = "autodiff")]
    #[allow(unsafe_code)]
    pub(crate) fn whole(self) -> &'a mut [f32] {
        let len = self.rows * self.outputs;
        assert_eq!(self.put.into_inner(), len, "each number is put there, once");
        // SAFETY: this is the memory that was borrowed for `'a`, all of it initialised, and nobody
        // else has it any more.
        unsafe { std::slice::from_raw_parts_mut(self.start, len) }
    }
}

/// Rows of a width, all of which `fill` has to put there by [`Output::multiply`]. Their memory is not
/// cleared before.
#[cfg(feature = "autodiff")]
pub(crate) fn filled([rows, width]: [usize; 2], fill: impl FnOnce(&Output<'_>)) -> Vec<f32> {
    let len = rows * width;
    let mut values = Vec::with_capacity(len);
    let output = Output::new(values.spare_capacity_mut(), rows, width);
    fill(&output);
    let whole = output.whole().len();
    // SAFETY: they are in their places.
    #[allow(unsafe_code)]
    unsafe {
        values.set_len(whole);
    }
    values
}

/// So many numbers in parts of `size`, the last of which may have fewer, side by side: `fill` is given
/// what it makes a part of and its memory, which is not cleared before, and gives it back with all
/// numbers in it.
#[cfg(feature = "autodiff")]
pub(crate) fn filled_in_parts<T: Send>(
    [len, size]: [usize; 2],
    from: impl IntoIterator<Item = T>,
    fill: impl Fn(T, &mut [MaybeUninit<f32>]) -> &mut [f32] + Send + Sync,
) -> Vec<f32> {
    let size = size.max(1);
    let mut values = Vec::with_capacity(len);
    let memory = values.spare_capacity_mut()[..len].chunks_mut(size);
    let parts: Vec<_> = from.into_iter().zip(memory).collect();
    assert_eq!(parts.len(), len.div_ceil(size), "something for each part");
    threads::each(parts, |(from, memory)| {
        let expected = memory.as_ptr_range();
        let filled = fill(from, memory).as_ptr_range();
        assert_eq!(filled, expected.start.cast()..expected.end.cast());
    });
    // SAFETY: each part has come back initialised.
    #[allow(unsafe_code)]
    unsafe {
        values.set_len(len);
    }
    values
}
