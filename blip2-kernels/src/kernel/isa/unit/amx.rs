//! The matrix unit of AMX.
//!
//! The instructions are written as assembly, since stable Rust has no names for them. Each block of
//! assembly loads, multiplies and stores: nothing stays in the unit's registers from one to the next,
//! only their sizes do, which [`Amx`] stands for.
#![allow(unsafe_code)]

use std::{arch::asm, marker::PhantomData};

use super::{Block, CHUNK, HALF, MatrixUnit, Product, UNIT_ROWS, UnitSums};
use crate::kernel::isa::tile_kind::{Aligned, PANEL};

/// The sizes of this thread's registers, from the first to the last use of them: while registers are in
/// use, whoever interrupts the thread has 8 KiB more to save.
pub(crate) struct Amx {
    rows: usize,
    /// Registers are a thread's own.
    of_thread: PhantomData<*const ()>,
}

/// A number of rounds of the products of a kernel, of zeros.
macro_rules! registers {
    ($dot:literal, $rounds:expr) => {
        asm!(
            "2:",
            concat!($dot, " tmm0, tmm4, tmm6"),
            concat!($dot, " tmm1, tmm4, tmm7"),
            concat!($dot, " tmm2, tmm5, tmm6"),
            concat!($dot, " tmm3, tmm5, tmm7"),
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) $rounds => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, nomem),
        )
    };
}

/// The registers: sums of the first 16 rows (0, 1) and of the second (2, 3), each for the left and the
/// right 16 outputs; the input of the first rows (4) and of the second (5); the panel's left and right
/// outputs (6, 7).
const OF_FIRST_ROWS: [usize; 3] = [0, 1, 4];

impl MatrixUnit for Amx {
    fn ready(rows: usize) -> Self {
        // The format of `LDTILECFG`: a palette, bytes of a row (16 bits each), rows (8 bits each).
        const PALETTE: usize = 0;
        const ROW_BYTES: usize = 16;
        const ROWS: usize = 48;
        let mut sizes = Aligned([0u8; 64]);
        sizes[PALETTE] = 1;
        for register in 0..8 {
            let few = OF_FIRST_ROWS.contains(&register);
            sizes[ROW_BYTES + 2 * register] = 64;
            sizes[ROWS + register] = if few { rows.clamp(1, HALF) } else { HALF } as u8;
        }
        // SAFETY: the sizes are valid ones; whoever is here has AMX (see `Isa`). No register's content
        // is anybody's: compiled code uses none, and every block of assembly leaves its own behind.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) sizes.as_ptr(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly),
            );
        }
        Self {
            rows,
            of_thread: PhantomData,
        }
    }

    fn multiply(&self, block: &Block<'_>, sums: &mut UnitSums) {
        let chunks = block.chunks(self.rows);
        let operands = Pointers {
            input: block.input.as_ptr().cast(),
            input_step: block.rows * size_of_val(&block.input[0]),
            panel: block.panel.as_ptr(),
            sums: sums.as_mut_ptr(),
            chunks,
            add: block.add,
            ahead: block.ahead.start,
            lines: block.ahead.lines,
        };
        // SAFETY: `chunks` has checked that there are `chunks` chunks of input and panel, and that the
        // registers have been made ready for that many rows; `sums` has room for 32.
        unsafe {
            match (block.product, block.rows == UNIT_ROWS) {
                (Product::Bf16, true) => bf16_both(operands),
                (Product::Bf16, false) => bf16_first(operands),
                (Product::Int8, true) => int8_both(operands),
                (Product::Int8, false) => int8_first(operands),
            }
        }
    }
}

impl Amx {
    /// Multiplies registers alone; returns the operations done, two for a multiply-add.
    pub(crate) fn saturate(product: Product) -> f64 {
        const ROUNDS: usize = 4096;
        let _ready = Self::ready(UNIT_ROWS);
        let inputs = match product {
            Product::Bf16 => 2 * CHUNK,
            Product::Int8 => 4 * CHUNK,
        };
        // SAFETY: the thread is ready for registers of these sizes, and no memory is touched.
        unsafe {
            match product {
                Product::Bf16 => registers!("tdpbf16ps", ROUNDS),
                Product::Int8 => registers!("tdpbusd", ROUNDS),
            }
        }
        (2 * ROUNDS * inputs * UNIT_ROWS * PANEL) as f64
    }
}

impl Drop for Amx {
    fn drop(&mut self) {
        // SAFETY: as in `ready`.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem),
            );
        }
    }
}

/// The operands of a kernel.
struct Pointers {
    input: *const u8,
    /// Bytes from chunk to chunk.
    input_step: usize,
    panel: *const u8,
    sums: *mut f32,
    /// At least one.
    chunks: usize,
    add: bool,
    ahead: *const u8,
    lines: usize,
}

/// A kernel for a product, of 32 rows or of the first 16.
///
/// Of 32 rows, the input is loaded past the first level of the cache (`T1`), and what is read ahead is
/// brought to the second: in the first stays what is read again for the next rows, the panel's part. Fewer
/// rows are most often all there are, so that nothing is read again.
macro_rules! kernel {
    ($name:ident, $dot:literal, $input:literal, $ahead:literal, $($both:literal)?) => {
        /// # Safety
        ///
        /// The thread is ready for it, and the operands are as many as they are said to be.
        unsafe fn $name(operands: Pointers) {
            let Pointers { input, input_step, panel, sums, chunks, add, ahead, lines } = operands;
            // SAFETY: by the caller's word; what is read ahead may lie anywhere.
            unsafe {
                asm!(
                    "test {add:e}, {add:e}",
                    "jz 2f",
                    "tileloadd tmm0, [{sums} + {panel_row}*1]",
                    "tileloadd tmm1, [{sums} + {panel_row}*1 + 64]",
                    $(
                        $both,
                        "tileloadd tmm2, [{sums} + {panel_row}*1 + 2048]",
                        "tileloadd tmm3, [{sums} + {panel_row}*1 + 2112]",
                    )?
                    "jmp 3f",
                    "2:",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    $(
                        $both,
                        "tilezero tmm2",
                        "tilezero tmm3",
                    )?
                    "3:",
                    "tileloadd tmm6, [{panel} + {panel_row}*1]",
                    concat!($input, " tmm4, [{input} + {input_row}*1]"),
                    concat!($dot, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{panel} + {panel_row}*1 + 64]",
                    concat!($dot, " tmm1, tmm4, tmm7"),
                    $(
                        $both,
                        concat!($input, " tmm5, [{input} + {input_row}*1 + 1024]"),
                        concat!($dot, " tmm2, tmm5, tmm6"),
                        concat!($dot, " tmm3, tmm5, tmm7"),
                    )?
                    "mov {line}, {lines}",
                    "test {line}, {line}",
                    "jz 5f",
                    "4:",
                    concat!($ahead, " [{ahead}]"),
                    "add {ahead}, 64",
                    "dec {line}",
                    "jnz 4b",
                    "5:",
                    "add {input}, {input_step}",
                    "add {panel}, 2048",
                    "dec {chunks}",
                    "jnz 3b",
                    "tilestored [{sums} + {panel_row}*1], tmm0",
                    "tilestored [{sums} + {panel_row}*1 + 64], tmm1",
                    $(
                        $both,
                        "tilestored [{sums} + {panel_row}*1 + 2048], tmm2",
                        "tilestored [{sums} + {panel_row}*1 + 2112], tmm3",
                    )?
                    input = inout(reg) input => _,
                    panel = inout(reg) panel => _,
                    chunks = inout(reg) chunks => _,
                    ahead = inout(reg) ahead => _,
                    line = out(reg) _,
                    add = in(reg) u32::from(add),
                    sums = in(reg) sums,
                    lines = in(reg) lines,
                    input_step = in(reg) input_step,
                    input_row = in(reg) 64usize,
                    panel_row = in(reg) 128usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

kernel!(bf16_both, "tdpbf16ps", "tileloaddt1", "prefetcht1", "");
kernel!(bf16_first, "tdpbf16ps", "tileloadd", "prefetcht0",);
kernel!(int8_both, "tdpbusd", "tileloaddt1", "prefetcht1", "");
kernel!(int8_first, "tdpbusd", "tileloadd", "prefetcht0",);
