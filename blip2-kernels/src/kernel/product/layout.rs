//! How a matrix unit's input lies in memory.

use std::ops::Range as Span;

use crate::kernel::isa::unit::{CHUNK, HALF, Product, UNIT_ROWS};

/// How rows and steps lie in lines: tile by tile, chunk by chunk, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) product: Product,
    pub(super) rows: usize,
    pub(super) inputs: usize,
    /// Of the unit; the last may lack steps.
    pub(super) chunks: usize,
    /// Blocks of 32 rows, of which the last may have fewer.
    pub(super) tiles: usize,
}

impl Layout {
    pub(super) fn new(product: Product, rows: usize, inputs: usize) -> Self {
        let step = match product {
            Product::Bf16 => 2,
            Product::Int8 => 4,
        };
        Self {
            product,
            rows,
            inputs,
            chunks: inputs.div_ceil(step * CHUNK),
            tiles: rows.div_ceil(UNIT_ROWS),
        }
    }

    /// The rows of a tile.
    pub(super) fn tile_rows(&self, tile: usize) -> Span<usize> {
        tile * UNIT_ROWS..self.rows.min((tile + 1) * UNIT_ROWS)
    }

    /// Where the line of a row's chunk is among all.
    pub(super) fn line(&self, row: usize, chunk: usize) -> usize {
        let tile = row / UNIT_ROWS;
        tile * UNIT_ROWS * self.chunks + chunk * self.padded(tile) + row % UNIT_ROWS
    }

    /// How many rows the unit takes for a tile, of which the last may be empty: whole registers, unless
    /// there is less than one in all. A unit is no faster with fewer.
    pub(super) fn padded(&self, tile: usize) -> usize {
        match self.rows {
            few @ ..HALF => few,
            _ => self.tile_rows(tile).len().next_multiple_of(HALF),
        }
    }
}
