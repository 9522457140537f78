//! Tiles of integers, whose products are summed in pairs of 16 bits that cannot overflow.

use std::arch::x86_64::*;

use super::{
    Part, WIDTH,
    floats::{self, start},
    kernels,
};
use crate::kernel::isa::{look_ahead, tile_kind::PANEL};

kernels!(
    /// Of [`TileKind::Int8Signed`](crate::kernel::isa::tile_kind::TileKind::Int8Signed).
    int8 = int8_tile of [1, 4] [2, 4] [2, 2] [3, 2] [4, 2]
);
kernels!(
    /// Of [`TileKind::Int4`](crate::kernel::isa::tile_kind::TileKind::Int4).
    int4 = int4_tile of [1, 4] [2, 4] [2, 2] [3, 2] [4, 2]
);

/// Vectors of sums for each row.
pub(super) type Rows<const ROWS: usize, const VECTORS: usize> = [[__m256i; VECTORS]; ROWS];

/// The sums before a part's first step.
///
/// # Safety
///
/// As of a [`Kernel`](super::Kernel); so for all functions of this file.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn start_integers<const ROWS: usize, const VECTORS: usize>(
    part: &Part,
) -> Rows<ROWS, VECTORS> {
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    if part.add {
        for (row, sums) in sums.iter_mut().enumerate() {
            for (vector, sum) in sums.iter_mut().enumerate() {
                // SAFETY: by the caller's word there is a sum for each row and output; so below.
                let place = unsafe { part.y.add(row * PANEL + 8 * vector) };
                // SAFETY: as above.
                *sum = unsafe { _mm256_loadu_si256(place.cast()) };
            }
        }
    }
    sums
}

/// Puts the sums behind a part's last step into their places.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store_integers<const ROWS: usize, const VECTORS: usize>(
    sums: Rows<ROWS, VECTORS>,
    part: &Part,
) {
    for (row, sums) in sums.into_iter().enumerate() {
        for (vector, sum) in sums.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm256_storeu_si256(part.y.add(row * PANEL + 8 * vector).cast(), sum) };
        }
    }
}

/// `maddubs` sums two products of an unsigned and a signed number in 16 bits, where those of 255 · 127
/// would saturate. With the input made signed, its amount is at most 128 and that of a weight at most 127,
/// so that two products are at most 32,512: the amounts are multiplied with weights that have taken the
/// input's sign.
#[target_feature(enable = "avx2")]
unsafe fn int8_tile<const ROWS: usize, const VECTORS: usize>(part: Part) {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: by the caller's word; so for all kernels of this file. Behind the last step pointers only
    // wrap, and are not read.
    unsafe {
        let (mut x, mut w) = (part.x.cast::<i32>(), part.w.cast::<u32>().add(part.output));
        let mut sums = start_integers::<ROWS, VECTORS>(&part);
        for _ in 0..part.steps {
            look_ahead(w.cast(), VECTORS / 2);
            for (row, sums) in sums.iter_mut().enumerate() {
                let amount = _mm256_set1_epi32(*x.add(row));
                let signed = _mm256_set1_epi32(*x.add(part.stride + row));
                for (vector, sum) in sums.iter_mut().enumerate() {
                    let w = _mm256_loadu_si256(w.add(8 * vector).cast());
                    let pairs = _mm256_maddubs_epi16(amount, _mm256_sign_epi8(w, signed));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
            x = x.wrapping_add(2 * part.stride);
            w = w.wrapping_add(PANEL);
        }
        store_integers(sums, &part);
    }
}

/// The low or the high nibbles of some bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn nibbles(bytes: __m256i) -> [__m256i; 2] {
    let low = _mm256_set1_epi8(15);
    let high = _mm256_srli_epi16::<4>(bytes);
    [_mm256_and_si256(bytes, low), _mm256_and_si256(high, low)]
}

/// Where a step's nibbles of eight outputs lie, in each of its quarters, and their scales.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn group(step: *const u8, output: usize) -> ([__m256i; 4], __m256) {
    let mut quarters = [_mm256_setzero_si256(); 4];
    // SAFETY: by the caller's word a step is whole.
    unsafe {
        for (quarter, bytes) in quarters.iter_mut().enumerate() {
            let from = step.add((quarter * PANEL + output) * 4);
            *bytes = _mm256_loadu_si256(from.cast());
        }
        let scales = step.add(16 * PANEL + 2 * output);
        (quarters, _mm256_cvtph_ps(_mm_loadu_si128(scales.cast())))
    }
}

/// A nibble times an 8-bit number is at most 15 · 255, of which eight fit 16 bits: four words are summed
/// before they are widened.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn int4_tile<const ROWS: usize, const VECTORS: usize>(part: Part) {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: as above.
    unsafe {
        let (mut x, mut w) = (part.x.cast::<i32>(), part.w);
        let lines = if VECTORS == PANEL / WIDTH { 9 } else { 0 };
        let mut sums = start::<ROWS, VECTORS>(&part);
        for _ in 0..part.steps {
            look_ahead(w.cast(), lines);
            for vector in 0..VECTORS {
                let (quarters, scales) = group(w, part.output + 8 * vector);
                // Nibbles are held 8 above their value; the input's last word is −8 times its sum, which
                // takes that back before the group's scale is applied.
                let mut dots = [_mm256_setzero_si256(); ROWS];
                for (row, dot) in dots.iter_mut().enumerate() {
                    *dot = _mm256_set1_epi32(*x.add(8 * part.stride + row));
                }
                for half in 0..2 {
                    let first = nibbles(quarters[2 * half]);
                    let second = nibbles(quarters[2 * half + 1]);
                    let four = [first[0], first[1], second[0], second[1]];
                    for (row, dot) in dots.iter_mut().enumerate() {
                        let mut sum = _mm256_setzero_si256();
                        for (word, w) in four.into_iter().enumerate() {
                            let x = *x.add((4 * half + word) * part.stride + row);
                            let products = _mm256_maddubs_epi16(_mm256_set1_epi32(x), w);
                            sum = _mm256_add_epi16(sum, products);
                        }
                        *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(sum, ones));
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
