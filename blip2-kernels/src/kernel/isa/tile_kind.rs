//! What a tile multiplies, and how its operands lie.
//!
//! A tile's input rows are interleaved, so that one pass reads both operands from front to back:
//!
//! | kind | a step of `k` | a step of the input, for each row | a step of the panel |
//! |---|---|---|---|
//! | [`F32`](TileKind::F32) | 1 | an `f32` | 32 × `f32` |
//! | [`F32Wide`](TileKind::F32Wide) | 1 | an `f32` | 32 × `f32` |
//! | [`F16`](TileKind::F16) | 1 | an `f32` | 32 × `f16` |
//! | [`Bf16`](TileKind::Bf16) | 2 | two `f32`, a row of words each | 32 × 2 × `bf16` |
//! | [`Bf16Rounded`](TileKind::Bf16Rounded) | 2 | two `f32` that have 16 bits, a row of words each | 32 × 2 × `bf16` |
//! | [`Bf16Dot`](TileKind::Bf16Dot) | 2 | two `bf16` | 32 × 2 × `bf16` |
//! | [`Int8`](TileKind::Int8) | 4 | four `u8` | 32 × 4 × `i8` |
//! | [`Int8Signed`](TileKind::Int8Signed) | 4 | four `u8`, the amounts of four `i8`; these, a row of words each | 32 × 4 × `i8` |
//! | [`Int4`](TileKind::Int4) | 32 | eight words of four `u8`, then a sum | see [`packed`](crate::matrix::packed) |

use std::ops::{Deref, DerefMut};

use super::Isa;

/// Outputs in a panel.
pub(crate) const PANEL: usize = 32;

/// The most rows in a tile: 12 × 32 sums fill 24 of the 32 registers of AVX-512.
pub(crate) const TILE_ROWS: usize = 12;

/// What starts with a line of the cache: a vector that is stored across two lines and loaded again
/// soon has to wait for both.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

impl<T> Deref for Aligned<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// The sums of a tile, `[row][output]`. Sums of [`TileKind::Int8`] are the bits of an `i32`.
pub(crate) type Sums = Aligned<[f32; TILE_ROWS * PANEL]>;

/// Sums before the first tile.
pub(crate) const NO_SUMS: Sums = Aligned([0.0; TILE_ROWS * PANEL]);

/// What a tile multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TileKind {
    F32,
    /// As `F32`, summed in 64 bits.
    F32Wide,
    F16,
    Bf16,
    /// As `Bf16Dot`, for instructions that multiply `f32` alone.
    Bf16Rounded,
    Bf16Dot,
    Int8,
    /// As `Int8`, for instructions whose pairs of products have 16 bits: the input is 128 below its value,
    /// and weights are at least −127.
    Int8Signed,
    Int4,
}

impl TileKind {
    /// How these instructions multiply what is held so. The panels are the same, and so are the results to
    /// the bit; the input is what they can read fastest.
    pub(crate) fn by(self, isa: Isa) -> Self {
        match (self, isa) {
            (Self::Bf16Dot, Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Vnni) => {
                Self::Bf16Rounded
            }
            (Self::Int8, Isa::Avx2 | Isa::Avx512) => Self::Int8Signed,
            _ => self,
        }
    }

    /// Whether activations are rounded to 8 bits.
    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self::Int8 | Self::Int8Signed | Self::Int4)
    }

    /// How many inputs a step takes.
    pub(crate) fn step(self) -> usize {
        match self {
            Self::F32 | Self::F32Wide | Self::F16 => 1,
            Self::Bf16 | Self::Bf16Rounded | Self::Bf16Dot => 2,
            Self::Int8 | Self::Int8Signed => 4,
            Self::Int4 => 32,
        }
    }

    /// How many words of input a step takes for each row.
    pub(crate) fn words(self) -> usize {
        match self {
            Self::F32 | Self::F32Wide | Self::F16 | Self::Bf16Dot | Self::Int8 => 1,
            Self::Bf16 | Self::Bf16Rounded | Self::Int8Signed => 2,
            Self::Int4 => 9,
        }
    }

    /// How many bytes of a panel a step takes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F16 => 2 * PANEL,
            Self::Int4 => 18 * PANEL,
            _ => 4 * PANEL,
        }
    }

    /// How many bytes the steps of `inputs` take in a panel.
    pub(crate) fn steps_bytes(self, inputs: usize) -> usize {
        inputs.div_ceil(self.step()) * self.bytes()
    }

    /// How many bytes a panel takes: its steps, and the scales and sums that stand behind them.
    pub(crate) fn panel_bytes(self, inputs: usize) -> usize {
        let behind = match self {
            Self::Int8 | Self::Int8Signed => 8 * PANEL,
            Self::Int4 => 4 * PANEL,
            _ => 0,
        };
        self.steps_bytes(inputs) + behind
    }
}
