//! The input of a product by a matrix unit: a line of the cache for each row and chunk.

use std::ops::Range as Span;

use super::lines::Lines;
use crate::kernel::{
    isa::{
        Isa,
        unit::{Line, Product, UNIT_ROWS},
    },
    product::{
        input::{Range, line_pairs, quantize},
        layout::Layout,
        rounding::Rounding,
    },
    threads,
};

/// Rows as a unit takes them: tile by tile, chunk by chunk, row by row.
pub(super) struct Input {
    layout: Layout,
    lines: Lines,
    /// How to widen the sums of each row again; of floats nothing.
    pub(super) ranges: Vec<Range>,
}

impl Input {
    /// Rounds `x` `[rows, inputs]`, the work of which is `shared` out if it is worth that.
    pub(super) fn new(isa: Isa, layout: Layout, x: &[f32], shared: bool) -> Self {
        /// Fewer numbers are rounded sooner than other threads are woken.
        const LARGE: usize = 1 << 15;
        let Layout { inputs, chunks, .. } = layout;
        // Rows that only fill a register up may be anything: nobody reads what becomes of them.
        let Self {
            mut lines,
            mut ranges,
            ..
        } = Self::room(layout);
        let size = UNIT_ROWS * chunks.max(1);
        let tiles = lines.chunks_mut(size).zip(ranges.chunks_mut(UNIT_ROWS));
        let tiles = tiles.zip(x.chunks((UNIT_ROWS * inputs).max(1)));
        let fill =
            |((lines, ranges), x): ((&mut [Line], &mut [Range]), &[f32])| match layout.product {
                Product::Bf16 => floats(isa, layout, x, lines),
                Product::Int8 => integers(isa, layout, x, lines, ranges),
            };
        match shared && x.len() >= LARGE {
            true => threads::each(tiles, fill),
            false => tiles.for_each(fill),
        }
        Self {
            layout,
            lines,
            ranges,
        }
    }

    /// Rows of any content, to be [rounded](Self::rounding) into.
    pub(super) fn room(layout: Layout) -> Self {
        let padded = (0..layout.tiles).map(|tile| layout.padded(tile));
        Self {
            layout,
            lines: Lines::any(padded.sum::<usize>() * layout.chunks),
            ranges: vec![Range::NONE; layout.rows],
        }
    }

    /// What rounds results to brain floats in the place of these rows.
    pub(super) fn rounding(&mut self) -> Rounding<'_> {
        Rounding::new(self.layout, &mut self.lines)
    }

    /// The lines of some chunks of a tile.
    pub(super) fn lines(&self, tile: usize, chunks: Span<usize>) -> &[Line] {
        let rows = self.layout.padded(tile);
        let start = tile * UNIT_ROWS * self.layout.chunks;
        &self.lines[start + rows * chunks.start..start + rows * chunks.end]
    }
}

/// A tile of brain floats.
fn floats(isa: Isa, layout: Layout, x: &[f32], lines: &mut [Line]) {
    let rows = lines.len() / layout.chunks;
    for (row, x) in x.chunks_exact(layout.inputs).enumerate() {
        line_pairs(isa, x, &mut lines[row..], rows);
    }
}

/// A tile of integers.
fn integers(isa: Isa, layout: Layout, x: &[f32], lines: &mut [Line], ranges: &mut [Range]) {
    let rows = lines.len() / layout.chunks;
    let mut bytes = vec![0u8; layout.chunks * size_of::<Line>()];
    let all = x.chunks_exact(layout.inputs).zip(ranges).enumerate();
    for (row, (x, range)) in all {
        *range = quantize(isa, x, &mut bytes);
        let lines = lines[row..].iter_mut().step_by(rows);
        for (line, bytes) in lines.zip(bytes.as_chunks().0) {
            line.0 = *bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::math, random_values};

    #[test]
    fn every_row_lies_in_its_lines() {
        for (rows, inputs) in [(1, 1), (3, 70), (16, 32), (17, 100), (40, 33), (65, 64)] {
            let x = random_values(rows * inputs, 1);
            let layout = Layout::new(Product::Bf16, rows, inputs);
            for isa in Isa::available() {
                let input = Input::new(isa, layout, &x, true);
                for (n, &x) in x.iter().enumerate() {
                    let (row, place) = (n / inputs, n % inputs);
                    let (tile, chunk) = (row / UNIT_ROWS, place / 32);
                    let line = &input.lines(tile, chunk..chunk + 1)[row % UNIT_ROWS];
                    let bits = line.as_chunks::<2>().0[place % 32];
                    assert_eq!(u32::from(u16::from_le_bytes(bits)), math::bf16_bits(x));
                }
                for row in 0..rows {
                    let last = input.lines(row / UNIT_ROWS, layout.chunks - 1..layout.chunks);
                    let behind = &last[row % UNIT_ROWS].as_chunks::<2>().0[(inputs - 1) % 32 + 1..];
                    assert!(behind.iter().all(|bits| *bits == [0; 2]), "padding is 0");
                }
            }
        }
    }
}
