//! Tiles for AVX2 with FMA and F16C, and with AVX-VNNI where the processor has it.
//!
//! There are 16 registers, half as many as with AVX-512, of half the width, so that a tile is cut: its
//! kernels take up to 6 rows of half a panel, whose 12 sums leave room for the weights and the input. One
//! or two rows take a whole panel, since those have all the reading to do and no other row that would find
//! it in the cache.
#![allow(unsafe_code)]

mod floats;
mod integers;
#[cfg(feature = "autodiff")]
pub(super) mod strided;
mod vnni;

use super::{
    Isa,
    tile_kind::{PANEL, Sums, TileKind},
};

/// Outputs of a vector.
const WIDTH: usize = 8;

/// What a kernel multiplies: some rows of some outputs, over some steps.
#[derive(Clone, Copy)]
struct Part {
    /// The first step's word of the first row.
    x: *const u32,
    /// The rows that are interleaved.
    stride: usize,
    /// The first step of the panel.
    w: *const u8,
    steps: usize,
    /// The first of the outputs.
    output: usize,
    /// The first row's sums of these outputs.
    y: *mut f32,
    /// Whether the products are added to the sums that there are.
    add: bool,
}

/// A kernel for a number of rows and of vectors of eight outputs.
///
/// # Safety
///
/// The processor has its instructions, and the part's operands reach as far as it says: an input for each
/// step and row, the steps of the panel, and room for the sums.
type Kernel = unsafe fn([usize; 2], Part);

/// Kernels with a constant number of rows and of vectors: the compiler then keeps all sums in registers,
/// which is the point of a tile.
macro_rules! kernels {
    ($(#[$doc:meta])* $name:ident = $kernel:ident of $([$rows:literal, $vectors:literal])*) => {
        $(#[$doc])*
        pub(super) unsafe fn $name(shape: [usize; 2], part: $crate::kernel::isa::avx2::Part) {
            // SAFETY: as for any `Kernel`, by the caller's word.
            unsafe {
                match shape {
                    $([$rows, $vectors] => $kernel::<$rows, $vectors>(part),)*
                    _ => unreachable!("a tile is not cut so"),
                }
            }
        }
    };
}
use kernels;

/// Computes the tile, or says that these instructions have no kernel for it.
pub(super) fn tile(
    isa: Isa,
    kind: TileKind,
    rows: usize,
    input: &[u32],
    panel: &[u8],
    sums: &mut Sums,
) -> bool {
    let vnni = isa == Isa::AvxVnni;
    let (kernel, most): (Kernel, usize) = match kind {
        TileKind::F32 | TileKind::F32Wide => (floats::f32, 6),
        TileKind::F16 => (floats::f16, 6),
        TileKind::Bf16 | TileKind::Bf16Rounded => (floats::bf16, 6),
        TileKind::Int8 if vnni => (vnni::int8, 6),
        TileKind::Int4 if vnni => (vnni::int4, 4),
        TileKind::Int8Signed => (integers::int8, 4),
        TileKind::Int4 => (integers::int4, 4),
        TileKind::Bf16Dot | TileKind::Int8 => return false,
    };
    let whole = Part {
        x: input.as_ptr(),
        stride: rows,
        w: panel.as_ptr(),
        steps: panel.len() / kind.bytes(),
        output: 0,
        y: sums.as_mut_ptr(),
        add: false,
    };
    // SAFETY: the caller asks for these instructions only where the processor has them, and has checked
    // that `panel` holds that many steps, `input` a word group for each step and row, and that there are
    // at most 12 rows, for which `sums` has room.
    unsafe { cut(kernel, kind, [rows, most], whole) };
    true
}

/// Has a kernel compute the parts of a tile of `rows`, of which it takes `most` at once.
///
/// # Safety
///
/// As of a [`Kernel`], for the whole tile.
unsafe fn cut(kernel: Kernel, kind: TileKind, [rows, most]: [usize; 2], whole: Part) {
    /// Rows that take a whole panel.
    const FEW: usize = 2;
    /// Bytes of a panel that stay in the first level of the cache, half of them at a time, beside the input
    /// while all rows pass.
    const NEAR: usize = 1 << 15;
    if rows <= FEW {
        // SAFETY: by the caller's word.
        return unsafe { kernel([rows, PANEL / WIDTH], whole) };
    }
    let (blocks, parts) = (
        (whole.steps * kind.bytes()).div_ceil(NEAR),
        rows.div_ceil(most),
    );
    for block in 0..blocks.max(1) {
        let [first, end] = [block, block + 1].map(|block| block * whole.steps / blocks.max(1));
        for output in [0, PANEL / 2] {
            for part in 0..parts {
                let [row, next] = [part, part + 1].map(|part| part * rows / parts);
                // SAFETY: by the caller's word; each pointer goes to a step, a row and an output that
                // are there.
                unsafe {
                    let part = Part {
                        x: whole.x.add(first * kind.words() * rows + row),
                        w: whole.w.add(first * kind.bytes()),
                        steps: end - first,
                        output,
                        y: whole.y.add(row * PANEL + output),
                        add: block > 0,
                        ..whole
                    };
                    kernel([next - row, PANEL / 2 / WIDTH], part);
                }
            }
        }
    }
}
