//! Tiles for AVX-512, with VNNI and BF16 where the processor has them.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

#[cfg(feature = "autodiff")]
use super::view::{Parts, Place};
use super::{
    Isa, look_ahead,
    tile_kind::{PANEL, Sums, TileKind},
};

/// Calls `$tile::<ROWS>` for the number of rows: with a constant number the compiler keeps all sums in
/// registers, which is the point of a tile.
macro_rules! for_rows {
    ($rows:expr, $tile:ident $arguments:tt, $($n:literal)*) => {
        match $rows {
            $($n => $tile::<$n> $arguments,)*
            _ => unreachable!("a tile has 1 to 12 rows"),
        }
    };
    ($rows:expr, $tile:ident $arguments:tt, $vectors:literal, $whole:literal; $($n:literal)*) => {
        match $rows {
            $($n => $tile::<$n, $vectors, $whole> $arguments,)*
            _ => unreachable!("a tile has 1 to 12 rows"),
        }
    };
}

/// Computes the tile, or says that these instructions have no kernel for it.
pub(super) fn tile(
    isa: Isa,
    kind: TileKind,
    rows: usize,
    input: &[u32],
    panel: &[u8],
    sums: &mut Sums,
) -> bool {
    let steps = panel.len() / kind.bytes();
    let (x, w, y) = (input.as_ptr(), panel.as_ptr(), sums.as_mut_ptr());
    // SAFETY: `isa` says that the processor has the instructions of each arm. The caller has
    // checked that `panel` holds `steps` steps, `input` a word group for each step and row, and
    // that there are at most 12 rows, for which `sums` has room; kernels read and write no more.
    unsafe {
        match kind {
            TileKind::F32 | TileKind::F32Wide => {
                for_rows!(rows, f32_tile(x, w, steps, y), 1 2 3 4 5 6 7 8 9 10 11 12)
            }
            TileKind::F16 => for_rows!(rows, f16_tile(x, w, steps, y), 1 2 3 4 5 6 7 8 9 10 11 12),
            TileKind::Bf16 | TileKind::Bf16Rounded => {
                for_rows!(rows, bf16_tile(x, w, steps, y), 1 2 3 4 5 6 7 8 9 10 11 12)
            }
            TileKind::Bf16Dot if isa >= Isa::Avx512Bf16 => {
                for_rows!(rows, bf16_dot_tile(x, w, steps, y), 1 2 3 4 5 6 7 8 9 10 11 12)
            }
            TileKind::Int8 if isa >= Isa::Avx512Vnni => {
                for_rows!(rows, int8_tile(x, w, steps, y), 1 2 3 4 5 6 7 8 9 10 11 12)
            }
            TileKind::Int4 if isa >= Isa::Avx512Vnni => {
                // Each sum of a group is kept twice, as integer and as float: six rows at most.
                for first in (0..rows).step_by(6) {
                    let (x, y) = (x.add(first), y.add(first * PANEL));
                    let part = (rows - first).min(6);
                    for_rows!(part, int4_tile(x, rows, w, steps, y), 1 2 3 4 5 6);
                }
            }
            TileKind::Bf16Dot | TileKind::Int8 | TileKind::Int8Signed | TileKind::Int4 => {
                return false;
            }
        }
    }
    true
}

/// The product of operands as they lie.
///
/// # Safety
///
/// The processor has AVX-512 F, the operands reach as far as their dimensions, of which the first is
/// 1 to 12 and the last 1 to 32; `c` has memory for the result, initialised if it is added to.
#[cfg(feature = "autodiff")]
pub(super) unsafe fn strided(parts: &Parts<'_>, c: Place, add: bool) {
    let rows = parts.dims[0];
    // SAFETY: by the caller's word.
    unsafe {
        match parts.dims[2] {
            32 => for_rows!(rows, strided_tile(parts, c, add), 2, true; 1 2 3 4 5 6 7 8 9 10 11 12),
            17.. => {
                for_rows!(rows, strided_tile(parts, c, add), 2, false; 1 2 3 4 5 6 7 8 9 10 11 12)
            }
            _ => for_rows!(rows, strided_tile(parts, c, add), 1, false; 1 2 3 4 5 6 7 8 9 10 11 12),
        }
    }
}

/// The same for a number of rows and of vectors in a row of the result, which are whole or not: a
/// masked load takes a place among the multiplications.
#[cfg(feature = "autodiff")]
#[target_feature(enable = "avx512f")]
unsafe fn strided_tile<const ROWS: usize, const VECTORS: usize, const WHOLE: bool>(
    parts: &Parts<'_>,
    c: Place,
    add: bool,
) {
    let [_, steps, width] = parts.dims;
    let [row_step, step] = parts.a.strides;
    let b_step = parts.b.strides[0];
    let (mut a, mut b) = (parts.a.data.as_ptr(), parts.b.data.as_ptr());
    let masks: [__mmask16; VECTORS] = std::array::from_fn(|vector| {
        let left = width.saturating_sub(16 * vector).min(16);
        ((1u32 << left) - 1) as __mmask16
    });
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: masks leave out what is beyond the width; else by the caller's word. Behind the last
    // step pointers only wrap, and are not read.
    unsafe {
        for _ in 0..steps {
            let mut w = [_mm512_setzero_ps(); VECTORS];
            for (vector, w) in w.iter_mut().enumerate() {
                let from = b.wrapping_add(16 * vector);
                *w = match WHOLE {
                    true => _mm512_loadu_ps(from),
                    false => _mm512_maskz_loadu_ps(masks[vector], from),
                };
            }
            // An address may hold a base and a scaled index: rows 1 and 2 from a base cost no
            // instruction of their own, so that the base moves only every third row.
            let mut base = a;
            for (rows, sums) in sums.chunks_mut(3).enumerate() {
                if rows > 0 {
                    base = base.wrapping_add(3 * row_step);
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*base.wrapping_add(row * row_step));
                    for (sum, w) in sums.iter_mut().zip(w) {
                        *sum = _mm512_fmadd_ps(x, w, *sum);
                    }
                }
            }
            a = a.wrapping_add(step);
            b = b.wrapping_add(b_step);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let to = c.start.wrapping_add(row * c.stride);
            for (vector, sum) in sums.into_iter().enumerate() {
                let (to, mask) = (to.wrapping_add(16 * vector), masks[vector]);
                let sum = match add {
                    true => _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, to)),
                    false => sum,
                };
                _mm512_mask_storeu_ps(to, mask, sum);
            }
        }
    }
}

type Pair<T> = [T; 2];

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store<const ROWS: usize>(sums: [Pair<__m512>; ROWS], y: *mut f32) {
    for (row, [left, right]) in sums.into_iter().enumerate() {
        // SAFETY: the caller has room for `ROWS` rows of 32.
        unsafe {
            _mm512_storeu_ps(y.add(row * PANEL), left);
            _mm512_storeu_ps(y.add(row * PANEL + 16), right);
        }
    }
}

/// Two vectors of weights are loaded for a step and stay in registers while every row of the input is
/// broadcast against them: of 32 registers 24 hold sums, 2 weights, and the others what is broadcast.
#[target_feature(enable = "avx512f")]
unsafe fn f32_tile<const ROWS: usize>(x: *const u32, w: *const u8, steps: usize, y: *mut f32) {
    let (x, w) = (x.cast::<f32>(), w.cast::<f32>());
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    // SAFETY: see `tile`; so for all kernels of this file.
    unsafe {
        for step in 0..steps {
            look_ahead(w.add(step * PANEL).cast(), 2);
            let left = _mm512_loadu_ps(w.add(step * PANEL));
            let right = _mm512_loadu_ps(w.add(step * PANEL + 16));
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*x.add(step * ROWS + row));
                sums[0] = _mm512_fmadd_ps(x, left, sums[0]);
                sums[1] = _mm512_fmadd_ps(x, right, sums[1]);
            }
        }
        store(sums, y);
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn f16_tile<const ROWS: usize>(x: *const u32, w: *const u8, steps: usize, y: *mut f32) {
    let (x, w) = (x.cast::<f32>(), w.cast::<__m256i>());
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            look_ahead(w.add(2 * step).cast(), 1);
            let left = _mm512_cvtph_ps(_mm256_loadu_si256(w.add(2 * step)));
            let right = _mm512_cvtph_ps(_mm256_loadu_si256(w.add(2 * step + 1)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*x.add(step * ROWS + row));
                sums[0] = _mm512_fmadd_ps(x, left, sums[0]);
                sums[1] = _mm512_fmadd_ps(x, right, sums[1]);
            }
        }
        store(sums, y);
    }
}

/// A brain float is the upper half of an `f32`: a shift or a mask widens one of a pair.
#[target_feature(enable = "avx512f")]
unsafe fn bf16_tile<const ROWS: usize>(x: *const u32, w: *const u8, steps: usize, y: *mut f32) {
    let (x, w) = (x.cast::<f32>(), w.cast::<__m512i>());
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            look_ahead(w.add(2 * step).cast(), 2);
            let left = _mm512_loadu_si512(w.add(2 * step));
            let right = _mm512_loadu_si512(w.add(2 * step + 1));
            for odd in 0..2 {
                let widen = |pair| {
                    _mm512_castsi512_ps(if odd == 0 {
                        _mm512_slli_epi32::<16>(pair)
                    } else {
                        _mm512_and_si512(pair, upper)
                    })
                };
                let (left, right) = (widen(left), widen(right));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*x.add((2 * step + odd) * ROWS + row));
                    sums[0] = _mm512_fmadd_ps(x, left, sums[0]);
                    sums[1] = _mm512_fmadd_ps(x, right, sums[1]);
                }
            }
        }
        store(sums, y);
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn bf16_dot_tile<const ROWS: usize>(x: *const u32, w: *const u8, steps: usize, y: *mut f32) {
    let (x, w) = (x.cast::<i32>(), w.cast::<__m512i>());
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    // SAFETY: as above; a vector of 32-bit words and one of pairs of brain floats are the same
    // 512 bits.
    unsafe {
        let pairs = |words: __m512i| std::mem::transmute::<__m512i, __m512bh>(words);
        for step in 0..steps {
            look_ahead(w.add(2 * step).cast(), 2);
            let left = pairs(_mm512_loadu_si512(w.add(2 * step)));
            let right = pairs(_mm512_loadu_si512(w.add(2 * step + 1)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = pairs(_mm512_set1_epi32(*x.add(step * ROWS + row)));
                sums[0] = _mm512_dpbf16_ps(sums[0], x, left);
                sums[1] = _mm512_dpbf16_ps(sums[1], x, right);
            }
        }
        store(sums, y);
    }
}

/// Sums of integers are exact, so that any order of them gives the same bits. `dpbusd` multiplies
/// unsigned numbers with signed ones: the input is the unsigned one, shifted by its zero point, which
/// the epilogue takes back by the sums of the weights.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn int8_tile<const ROWS: usize>(x: *const u32, w: *const u8, steps: usize, y: *mut f32) {
    let (x, w) = (x.cast::<i32>(), w.cast::<__m512i>());
    let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            look_ahead(w.add(2 * step).cast(), 2);
            let left = _mm512_loadu_si512(w.add(2 * step));
            let right = _mm512_loadu_si512(w.add(2 * step + 1));
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(*x.add(step * ROWS + row));
                sums[0] = _mm512_dpbusd_epi32(sums[0], x, left);
                sums[1] = _mm512_dpbusd_epi32(sums[1], x, right);
            }
        }
        for (row, [left, right]) in sums.into_iter().enumerate() {
            _mm512_storeu_si512(y.add(row * PANEL).cast(), left);
            _mm512_storeu_si512(y.add(row * PANEL + 16).cast(), right);
        }
    }
}

/// `stride` rows are interleaved, of which this computes `ROWS`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn int4_tile<const ROWS: usize>(
    x: *const u32,
    stride: usize,
    w: *const u8,
    steps: usize,
    y: *mut f32,
) {
    let x = x.cast::<i32>();
    let low = _mm512_set1_epi8(15);
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            let x = x.add(step * 9 * stride);
            let w = w.add(step * 18 * PANEL);
            look_ahead(w, 9);
            // Nibbles are held 8 above their value; the input's last word is −8 times its sum, which
            // takes that back before the group's scale is applied.
            let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
            for (row, dots) in dots.iter_mut().enumerate() {
                *dots = [_mm512_set1_epi32(*x.add(8 * stride + row)); 2];
            }
            for pair in 0..4 {
                let nibbles = w.add(pair * 4 * PANEL).cast::<__m512i>();
                let (left, right) = (
                    _mm512_loadu_si512(nibbles),
                    _mm512_loadu_si512(nibbles.add(1)),
                );
                let lows = [_mm512_and_si512(left, low), _mm512_and_si512(right, low)];
                let highs = [
                    _mm512_and_si512(_mm512_srli_epi16::<4>(left), low),
                    _mm512_and_si512(_mm512_srli_epi16::<4>(right), low),
                ];
                for (row, dots) in dots.iter_mut().enumerate() {
                    let first = _mm512_set1_epi32(*x.add(2 * pair * stride + row));
                    let second = _mm512_set1_epi32(*x.add((2 * pair + 1) * stride + row));
                    for half in 0..2 {
                        let dot = _mm512_dpbusd_epi32(dots[half], first, lows[half]);
                        dots[half] = _mm512_dpbusd_epi32(dot, second, highs[half]);
                    }
                }
            }
            let scales = w.add(16 * PANEL).cast::<__m256i>();
            let scales = [
                _mm512_cvtph_ps(_mm256_loadu_si256(scales)),
                _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(1))),
            ];
            for (sums, dots) in sums.iter_mut().zip(dots) {
                for half in 0..2 {
                    let dot = _mm512_cvtepi32_ps(dots[half]);
                    sums[half] = _mm512_fmadd_ps(dot, scales[half], sums[half]);
                }
            }
        }
        store(sums, y);
    }
}
