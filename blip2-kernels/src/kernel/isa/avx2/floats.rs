//! Tiles of floats, which are widened in registers.

use std::arch::x86_64::*;

use super::{Part, kernels};
use crate::kernel::isa::{look_ahead, tile_kind::PANEL};

kernels!(
    /// Of [`TileKind::F32`](crate::kernel::isa::tile_kind::TileKind::F32).
    f32 = f32_tile of [1, 4] [2, 4] [3, 2] [4, 2] [5, 2] [6, 2]
);
kernels!(
    /// Of [`TileKind::F16`](crate::kernel::isa::tile_kind::TileKind::F16).
    f16 = f16_tile of [1, 4] [2, 4] [3, 2] [4, 2] [5, 2] [6, 2]
);
kernels!(
    /// Of [`TileKind::Bf16`](crate::kernel::isa::tile_kind::TileKind::Bf16).
    bf16 = bf16_tile of [1, 4] [2, 4] [3, 2] [4, 2] [5, 2] [6, 2]
);

/// Vectors of sums for each row.
type Rows<const ROWS: usize, const VECTORS: usize> = [[__m256; VECTORS]; ROWS];

/// The sums before a part's first step.
///
/// # Safety
///
/// As of a [`Kernel`](super::Kernel); so for all functions of this file.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn start<const ROWS: usize, const VECTORS: usize>(
    part: &Part,
) -> Rows<ROWS, VECTORS> {
    let mut sums = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    if part.add {
        for (row, sums) in sums.iter_mut().enumerate() {
            for (vector, sum) in sums.iter_mut().enumerate() {
                // SAFETY: by the caller's word there is a sum for each row and output; so below.
                *sum = unsafe { _mm256_loadu_ps(part.y.add(row * PANEL + 8 * vector)) };
            }
        }
    }
    sums
}

/// Puts the sums behind a part's last step into their places.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store<const ROWS: usize, const VECTORS: usize>(
    sums: Rows<ROWS, VECTORS>,
    part: &Part,
) {
    for (row, sums) in sums.into_iter().enumerate() {
        for (vector, sum) in sums.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(part.y.add(row * PANEL + 8 * vector), sum) };
        }
    }
}

/// Adds `x · w` of one input to the sums of each row.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add<const ROWS: usize, const VECTORS: usize>(
    sums: &mut Rows<ROWS, VECTORS>,
    x: *const f32,
    w: [__m256; VECTORS],
) {
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: by the caller's word there is an input for each row.
        let x = unsafe { _mm256_set1_ps(*x.add(row)) };
        for (sum, w) in sums.iter_mut().zip(w) {
            *sum = _mm256_fmadd_ps(x, w, *sum);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn f32_tile<const ROWS: usize, const VECTORS: usize>(part: Part) {
    // SAFETY: by the caller's word; so for all kernels of this file. Behind the last step pointers only
    // wrap, and are not read.
    unsafe {
        let (mut x, mut w) = (part.x.cast(), part.w.cast::<f32>().add(part.output));
        let mut sums = start::<ROWS, VECTORS>(&part);
        for _ in 0..part.steps {
            look_ahead(w.cast(), VECTORS / 2);
            let mut wide = [_mm256_setzero_ps(); VECTORS];
            for (vector, wide) in wide.iter_mut().enumerate() {
                *wide = _mm256_loadu_ps(w.add(8 * vector));
            }
            add(&mut sums, x, wide);
            x = x.wrapping_add(part.stride);
            w = w.wrapping_add(PANEL);
        }
        store(sums, &part);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn f16_tile<const ROWS: usize, const VECTORS: usize>(part: Part) {
    // SAFETY: as above.
    unsafe {
        let (mut x, mut w) = (part.x.cast(), part.w.cast::<u16>().add(part.output));
        let mut sums = start::<ROWS, VECTORS>(&part);
        for _ in 0..part.steps {
            look_ahead(w.cast(), 1);
            let mut wide = [_mm256_setzero_ps(); VECTORS];
            for (vector, wide) in wide.iter_mut().enumerate() {
                *wide = _mm256_cvtph_ps(_mm_loadu_si128(w.add(8 * vector).cast()));
            }
            add(&mut sums, x, wide);
            x = x.wrapping_add(part.stride);
            w = w.wrapping_add(PANEL);
        }
        store(sums, &part);
    }
}

/// A brain float is the upper half of an `f32`: a shift or a mask widens one of a pair. Both are taken from
/// memory, the second time from the nearest cache, since registers are few.
#[target_feature(enable = "avx2,fma")]
unsafe fn bf16_tile<const ROWS: usize, const VECTORS: usize>(part: Part) {
    let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    // SAFETY: as above.
    unsafe {
        let (mut x, mut w) = (part.x.cast(), part.w.cast::<u32>().add(part.output));
        let mut sums = start::<ROWS, VECTORS>(&part);
        for _ in 0..part.steps {
            look_ahead(w.cast(), VECTORS / 2);
            let (mut even, mut odd) = (
                [_mm256_setzero_ps(); VECTORS],
                [_mm256_setzero_ps(); VECTORS],
            );
            for (vector, even) in even.iter_mut().enumerate() {
                let pairs = _mm256_loadu_si256(w.add(8 * vector).cast());
                *even = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs));
            }
            add(&mut sums, x, even);
            for (vector, odd) in odd.iter_mut().enumerate() {
                let pairs = _mm256_loadu_si256(w.add(8 * vector).cast());
                *odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, upper));
            }
            add(&mut sums, x.add(part.stride), odd);
            x = x.wrapping_add(2 * part.stride);
            w = w.wrapping_add(PANEL);
        }
        store(sums, &part);
    }
}
