//! Tiles of integers by AVX-VNNI.

use std::arch::x86_64::*;

use super::{
    Part, WIDTH,
    floats::{self, start},
    integers::{group, nibbles, start_integers, store_integers},
    kernels,
};
use crate::kernel::isa::{look_ahead, tile_kind::PANEL};

kernels!(
    /// Of [`TileKind::Int8`](crate::kernel::isa::tile_kind::TileKind::Int8).
    int8 = int8_tile of [1, 4] [2, 4] [3, 2] [4, 2] [5, 2] [6, 2]
);
kernels!(
    /// Of [`TileKind::Int4`](crate::kernel::isa::tile_kind::TileKind::Int4).
    int4 = int4_tile of [1, 4] [2, 4] [2, 2] [3, 2] [4, 2]
);

/// As AVX-512's, of half the width.
///
/// # Safety
///
/// As of a [`Kernel`](super::Kernel).
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn int8_tile<const ROWS: usize, const VECTORS: usize>(part: Part) {
    // SAFETY: by the caller's word. Behind the last step pointers only wrap, and are not read.
    unsafe {
        let (mut x, mut w) = (part.x.cast::<i32>(), part.w.cast::<u32>().add(part.output));
        let mut sums = start_integers::<ROWS, VECTORS>(&part);
        for _ in 0..part.steps {
            look_ahead(w.cast(), VECTORS / 2);
            let mut fours = [_mm256_setzero_si256(); VECTORS];
            for (vector, fours) in fours.iter_mut().enumerate() {
                *fours = _mm256_loadu_si256(w.add(8 * vector).cast());
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(*x.add(row));
                for (sum, fours) in sums.iter_mut().zip(fours) {
                    *sum = _mm256_dpbusd_avx_epi32(*sum, x, fours);
                }
            }
            x = x.wrapping_add(part.stride);
            w = w.wrapping_add(PANEL);
        }
        store_integers(sums, &part);
    }
}

/// As that of AVX2, but for summing in 32 bits at once.
///
/// # Safety
///
/// As of a [`Kernel`](super::Kernel).
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn int4_tile<const ROWS: usize, const VECTORS: usize>(part: Part) {
    // SAFETY: by the caller's word. Behind the last step pointers only wrap, and are not read.
    unsafe {
        let (mut x, mut w) = (part.x.cast::<i32>(), part.w);
        let lines = if VECTORS == PANEL / WIDTH { 9 } else { 0 };
        let mut sums = start::<ROWS, VECTORS>(&part);
        for _ in 0..part.steps {
            look_ahead(w.cast(), lines);
            for vector in 0..VECTORS {
                let (quarters, scales) = group(w, part.output + 8 * vector);
                let mut dots = [_mm256_setzero_si256(); ROWS];
                for (row, dot) in dots.iter_mut().enumerate() {
                    *dot = _mm256_set1_epi32(*x.add(8 * part.stride + row));
                }
                for (quarter, bytes) in quarters.into_iter().enumerate() {
                    for (half, w) in nibbles(bytes).into_iter().enumerate() {
                        for (row, dot) in dots.iter_mut().enumerate() {
                            let x = *x.add((2 * quarter + half) * part.stride + row);
                            *dot = _mm256_dpbusd_avx_epi32(*dot, _mm256_set1_epi32(x), w);
                        }
                    }
                }
                for (sums, dot) in sums.iter_mut().zip(dots) {
                    let dot = _mm256_cvtepi32_ps(dot);
                    sums[vector] = _mm256_fmadd_ps(dot, scales, sums[vector]);
                }
            }
            x = x.wrapping_add(9 * part.stride);
            w = w.wrapping_add(18 * PANEL);
        }
        floats::store(sums, &part);
    }
}
