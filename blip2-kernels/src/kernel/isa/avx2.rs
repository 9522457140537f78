//! Tiles for AVX2 with FMA and F16C.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::tile_kind::{PANEL, Sums, TileKind};

/// Outputs of a kernel: two of the four vectors of a panel, or for integers a quarter. There are 16
/// registers, half as many as with AVX-512, of half the width: 4 rows × 2 vectors of sums leave room
/// for the weights and the input.
const FLOATS: usize = 16;
const INTS: usize = 8;

macro_rules! for_rows {
    ($rows:expr, $tile:ident $arguments:tt, $($n:literal)*) => {
        match $rows {
            $($n => $tile::<$n> $arguments,)*
            _ => unreachable!("a kernel has 1 to 4 rows"),
        }
    };
}

pub(super) fn tile(kind: TileKind, rows: usize, input: &[u32], panel: &[u8], sums: &mut Sums) {
    let steps = panel.len() / kind.bytes();
    let (width, step) = match kind {
        TileKind::F32 | TileKind::F32Wide | TileKind::F16 | TileKind::Bf16 | TileKind::Bf16Dot => {
            (FLOATS, 4)
        }
        TileKind::Int8 | TileKind::Int4 => (INTS, 4),
    };
    // SAFETY: the caller asks for AVX2 only where the processor has it with FMA and F16C, and has
    // checked that `panel` holds `steps` steps, `input` a word group for each step and row, and
    // that there are at most 12 rows, for which `sums` has room; kernels read and write no more.
    unsafe {
        for output in (0..PANEL).step_by(width) {
            for first in (0..rows).step_by(step) {
                let part = (rows - first).min(step);
                let x = input.as_ptr().add(first);
                let w = panel.as_ptr().add(output * kind.bytes() / PANEL);
                let y = sums.as_mut_ptr().add(first * PANEL + output);
                match kind {
                    TileKind::F32 | TileKind::F32Wide => {
                        for_rows!(part, f32_tile(x, rows, w, steps, y), 1 2 3 4)
                    }
                    TileKind::F16 => for_rows!(part, f16_tile(x, rows, w, steps, y), 1 2 3 4),
                    TileKind::Bf16 => for_rows!(part, bf16_tile(x, rows, w, steps, y), 1 2 3 4),
                    TileKind::Bf16Dot => {
                        for_rows!(part, bf16_dot_tile(x, rows, w, steps, y), 1 2 3 4)
                    }
                    TileKind::Int8 => for_rows!(part, int8_tile(x, rows, w, steps, y), 1 2 3 4),
                    TileKind::Int4 => {
                        // The weights of an output do not lie at its share of a step.
                        let w = panel.as_ptr();
                        for_rows!(part, int4_tile(x, rows, w, output, steps, y), 1 2 3 4);
                    }
                }
            }
        }
    }
}

type Pair<T> = [T; 2];

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<const ROWS: usize>(sums: [Pair<__m256>; ROWS], y: *mut f32) {
    for (row, [left, right]) in sums.into_iter().enumerate() {
        // SAFETY: the caller has room for `ROWS` rows of a panel.
        unsafe {
            _mm256_storeu_ps(y.add(row * PANEL), left);
            _mm256_storeu_ps(y.add(row * PANEL + 8), right);
        }
    }
}

/// Adds `x · w` of one step to the sums of each row.
///
/// # Safety
///
/// `x` has a word for each row.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add<const ROWS: usize>(sums: &mut [Pair<__m256>; ROWS], x: *const f32, w: Pair<__m256>) {
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: by the caller's word.
        let x = unsafe { _mm256_set1_ps(*x.add(row)) };
        sums[0] = _mm256_fmadd_ps(x, w[0], sums[0]);
        sums[1] = _mm256_fmadd_ps(x, w[1], sums[1]);
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn f32_tile<const ROWS: usize>(
    x: *const u32,
    stride: usize,
    w: *const u8,
    steps: usize,
    y: *mut f32,
) {
    let (x, w) = (x.cast::<f32>(), w.cast::<f32>());
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    // SAFETY: see `tile`; so for all kernels of this file.
    unsafe {
        for step in 0..steps {
            let w = w.add(step * PANEL);
            let w = [_mm256_loadu_ps(w), _mm256_loadu_ps(w.add(8))];
            add(&mut sums, x.add(step * stride), w);
        }
        store(sums, y);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn f16_tile<const ROWS: usize>(
    x: *const u32,
    stride: usize,
    w: *const u8,
    steps: usize,
    y: *mut f32,
) {
    let x = x.cast::<f32>();
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            let w = w.add(step * 2 * PANEL).cast::<__m128i>();
            let w = [
                _mm256_cvtph_ps(_mm_loadu_si128(w)),
                _mm256_cvtph_ps(_mm_loadu_si128(w.add(1))),
            ];
            add(&mut sums, x.add(step * stride), w);
        }
        store(sums, y);
    }
}

/// The first and the second of 16 pairs of brain floats, as two vectors each.
///
/// # Safety
///
/// `w` has 64 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pairs(w: *const u8) -> [Pair<__m256>; 2] {
    let w = w.cast::<__m256i>();
    // SAFETY: by the caller's word.
    let (left, right) = unsafe { (_mm256_loadu_si256(w), _mm256_loadu_si256(w.add(1))) };
    let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    let even = |pair| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pair));
    let odd = |pair| _mm256_castsi256_ps(_mm256_and_si256(pair, upper));
    [[even(left), even(right)], [odd(left), odd(right)]]
}

#[target_feature(enable = "avx2,fma")]
unsafe fn bf16_tile<const ROWS: usize>(
    x: *const u32,
    stride: usize,
    w: *const u8,
    steps: usize,
    y: *mut f32,
) {
    let x = x.cast::<f32>();
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            let [even, odd] = pairs(w.add(step * 4 * PANEL));
            add(&mut sums, x.add(2 * step * stride), even);
            add(&mut sums, x.add((2 * step + 1) * stride), odd);
        }
        store(sums, y);
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn bf16_dot_tile<const ROWS: usize>(
    x: *const u32,
    stride: usize,
    w: *const u8,
    steps: usize,
    y: *mut f32,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            let [even, odd] = pairs(w.add(step * 4 * PANEL));
            for (row, sums) in sums.iter_mut().enumerate() {
                let pair = *x.add(step * stride + row);
                let first = _mm256_set1_ps(f32::from_bits(pair << 16));
                let second = _mm256_set1_ps(f32::from_bits(pair & 0xffff_0000));
                for half in 0..2 {
                    let sum = _mm256_fmadd_ps(first, even[half], sums[half]);
                    sums[half] = _mm256_fmadd_ps(second, odd[half], sum);
                }
            }
        }
        store(sums, y);
    }
}

/// Products of 16-bit numbers, since those of 8 bits saturate: each sum is kept in two halves,
/// which are added at the end.
#[target_feature(enable = "avx2")]
unsafe fn int8_tile<const ROWS: usize>(
    x: *const u32,
    stride: usize,
    w: *const u8,
    steps: usize,
    y: *mut f32,
) {
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            let w = w.add(step * 4 * PANEL).cast::<__m128i>();
            let w = [
                _mm256_cvtepi8_epi16(_mm_loadu_si128(w)),
                _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add(1))),
            ];
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm_set1_epi32(*x.add(step * stride + row) as i32);
                let x = _mm256_cvtepu8_epi16(x);
                for half in 0..2 {
                    let products = _mm256_madd_epi16(x, w[half]);
                    sums[half] = _mm256_add_epi32(sums[half], products);
                }
            }
        }
        for (row, [left, right]) in sums.into_iter().enumerate() {
            // Adding neighbours leaves outputs 0 1 4 5 2 3 6 7: the middle quarters change places.
            let sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(left, right));
            _mm256_storeu_si256(y.add(row * PANEL).cast(), sum);
        }
    }
}

/// Eight outputs from `output` on. Products of nibbles with 8-bit numbers fit 16 bits in pairs.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn int4_tile<const ROWS: usize>(
    x: *const u32,
    stride: usize,
    w: *const u8,
    output: usize,
    steps: usize,
    y: *mut f32,
) {
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_ps(); ROWS];
    // SAFETY: as above.
    unsafe {
        for step in 0..steps {
            let x = x.add(step * 9 * stride);
            let w = w.add(step * 18 * PANEL);
            let mut dots = [_mm256_setzero_si256(); ROWS];
            for (row, dot) in dots.iter_mut().enumerate() {
                *dot = _mm256_set1_epi32(*x.add(8 * stride + row) as i32);
            }
            for pair in 0..4 {
                let nibbles = w.add((pair * PANEL + output) * 4).cast::<__m256i>();
                let nibbles = _mm256_loadu_si256(nibbles);
                let first = _mm256_and_si256(nibbles, low);
                let second = _mm256_and_si256(_mm256_srli_epi16::<4>(nibbles), low);
                for (row, dot) in dots.iter_mut().enumerate() {
                    for (word, w) in [(2 * pair, first), (2 * pair + 1, second)] {
                        let x = _mm256_set1_epi32(*x.add(word * stride + row) as i32);
                        let products = _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), ones);
                        *dot = _mm256_add_epi32(*dot, products);
                    }
                }
            }
            let scales = w.add(16 * PANEL + 2 * output).cast::<__m128i>();
            let scales = _mm256_cvtph_ps(_mm_loadu_si128(scales));
            for (sum, dot) in sums.iter_mut().zip(dots) {
                *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scales, *sum);
            }
        }
        for (row, sum) in sums.into_iter().enumerate() {
            _mm256_storeu_ps(y.add(row * PANEL), sum);
        }
    }
}
