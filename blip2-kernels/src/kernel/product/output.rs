//! The result of a product while several threads write it.

use std::{marker::PhantomData, mem::MaybeUninit};

use super::rounding::Rounding;
use crate::kernel::isa::tile_kind::{Aligned, PANEL};
#[cfg(feature = "autodiff")]
use crate::kernel::isa::{
    Isa, strided,
    view::{Place, View},
};

/// The result, of which each thread writes rows or columns of its own.
///
/// Its memory is not cleared before: that alone would take a twentieth of an encoder's product.
pub(crate) struct Output<'a> {
    start: *mut f32,
    rows: usize,
    pub(super) outputs: usize,
    memory: PhantomData<&'a mut [f32]>,
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
        // SAFETY: `place` is good for `width` numbers, and nobody else touches them: callers keep to a
        // part of their own.
        unsafe {
            if width == PANEL {
                // A whole panel is written without a call.
                place.cast::<[f32; PANEL]>().write_unaligned(values.0);
            } else {
                copy_part(values[..width].as_ptr(), place, width);
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
            copy_part(place, values[..width].as_mut_ptr(), width);
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
        unsafe { strided::multiply(isa, operands, dims, place, add) };
    }

    /// Puts zeros at a row and a column.
    #[cfg(feature = "autodiff")]
    pub(crate) fn clear(&self, place: [usize; 2], [rows, columns]: [usize; 2]) {
        // The sum of nothing.
        let nothing = View {
            data: &[],
            strides: [1, 1],
        };
        let isa = Isa::Portable;
        self.multiply(isa, [nothing; 2], [rows, 0, columns], place, false);
    }
}

/// Where the results of a product go.
#[derive(Clone, Copy)]
pub(super) enum Sink<'a> {
    /// As they are.
    Rows(&'a Output<'a>),
    /// Rounded to brain floats, into the input of the next product by a matrix unit.
    Rounded(&'a Rounding<'a>),
}

impl Sink<'_> {
    /// Stores a panel's results of a row.
    #[inline(always)]
    pub(super) fn store(
        &self,
        row: usize,
        output: usize,
        width: usize,
        values: &Aligned<[f32; PANEL]>,
    ) {
        match self {
            Self::Rows(rows) => rows.store(row, output, width, values),
            Self::Rounded(rounding) => rounding.store(row, output, width, values),
        }
    }
}

/// Copies a part of a panel. A function of its own: where the compiler sees both, it makes one call of
/// unknown length of this and of copying a whole panel.
///
/// # Safety
///
/// As of a copy of `width` numbers between places that do not overlap.
#[cold]
#[inline(never)]
#[allow(unsafe_code)]
unsafe fn copy_part(from: *const f32, to: *mut f32, width: usize) {
    // SAFETY: by the caller's word.
    unsafe { from.copy_to_nonoverlapping(to, width) }
}
