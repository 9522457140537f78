//! Products of operands as they lie.

use std::arch::x86_64::*;

use super::WIDTH;
use crate::kernel::isa::view::{Parts, Place, View};

/// The most rows and columns of a kernel: its 12 vectors of sums leave room for what is multiplied.
const ROWS: usize = 6;
const COLUMNS: usize = 2 * WIDTH;

/// Calls the kernel for a number of rows.
macro_rules! for_rows {
    ($parts:ident, $c:ident, $add:ident, $vectors:literal, $whole:literal) => {
        match $parts.dims[0] {
            1 => kernel::<1, $vectors, $whole>(&$parts, $c, $add),
            2 => kernel::<2, $vectors, $whole>(&$parts, $c, $add),
            3 => kernel::<3, $vectors, $whole>(&$parts, $c, $add),
            4 => kernel::<4, $vectors, $whole>(&$parts, $c, $add),
            5 => kernel::<5, $vectors, $whole>(&$parts, $c, $add),
            6 => kernel::<6, $vectors, $whole>(&$parts, $c, $add),
            _ => unreachable!("a kernel has 1 to 6 rows"),
        }
    };
}

/// The product of a tile's operands.
///
/// # Safety
///
/// The processor has AVX2 with FMA, the operands reach as far as their dimensions, none of which is 0; `c`
/// has memory for the result, initialised if it is added to.
pub(crate) unsafe fn strided(whole: &Parts<'_>, c: Place, add: bool) {
    let [rows, inner, width] = whole.dims;
    let tiles = rows.div_ceil(ROWS);
    for column in (0..width).step_by(COLUMNS) {
        for tile in 0..tiles {
            let [row, next] = [tile, tile + 1].map(|tile| tile * rows / tiles);
            let parts = Parts {
                a: View {
                    data: whole.a.from(row, 0),
                    ..whole.a
                },
                b: View {
                    data: whole.b.from(0, column),
                    ..whole.b
                },
                dims: [next - row, inner, COLUMNS.min(width - column)],
            };
            // SAFETY: a part of the whole, by the caller's word.
            unsafe {
                let c = Place {
                    start: c.start.add(row * c.stride + column),
                    ..c
                };
                match parts.dims[2] {
                    COLUMNS => for_rows!(parts, c, add, 2, true),
                    9.. => for_rows!(parts, c, add, 2, false),
                    _ => for_rows!(parts, c, add, 1, false),
                }
            }
        }
    }
}

/// The same for a number of rows and of vectors in a row of the result, which are whole or not: a masked
/// load takes longer.
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel<const ROWS: usize, const VECTORS: usize, const WHOLE: bool>(
    parts: &Parts<'_>,
    c: Place,
    add: bool,
) {
    let [_, steps, width] = parts.dims;
    let [row_step, step] = parts.a.strides;
    let b_step = parts.b.strides[0];
    let (mut a, mut b) = (parts.a.data.as_ptr(), parts.b.data.as_ptr());
    let mut masks = [_mm256_setzero_si256(); VECTORS];
    for (vector, mask) in masks.iter_mut().enumerate() {
        *mask = first(width.saturating_sub(WIDTH * vector));
    }
    let mut sums = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: masks leave out what is beyond the width; else by the caller's word. Behind the last
    // step pointers only wrap, and are not read.
    unsafe {
        for _ in 0..steps {
            let mut w = [_mm256_setzero_ps(); VECTORS];
            for (vector, w) in w.iter_mut().enumerate() {
                let from = b.wrapping_add(WIDTH * vector);
                *w = match WHOLE {
                    true => _mm256_loadu_ps(from),
                    false => _mm256_maskload_ps(from, masks[vector]),
                };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_ps(*a.wrapping_add(row * row_step));
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm256_fmadd_ps(x, w, *sum);
                }
            }
            a = a.wrapping_add(step);
            b = b.wrapping_add(b_step);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let to = c.start.wrapping_add(row * c.stride);
            for (vector, sum) in sums.into_iter().enumerate() {
                let (to, mask) = (to.wrapping_add(WIDTH * vector), masks[vector]);
                let sum = match add {
                    true => _mm256_add_ps(sum, _mm256_maskload_ps(to, mask)),
                    false => sum,
                };
                _mm256_maskstore_ps(to, mask, sum);
            }
        }
    }
}

/// A mask of the first lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn first(count: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(WIDTH) as i32), lanes)
}
