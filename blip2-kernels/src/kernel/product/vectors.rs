//! Products by vectors.

use std::ops::Range;

use super::{
    input::{Blocking, Input},
    work::{Part, Work},
};
use crate::kernel::{
    isa::{
        Isa, bring_near, tile,
        tile_kind::{NO_SUMS, PANEL, Sums, TileKind},
    },
    panels::Panels,
};

/// Some rows, interleaved for tiles.
pub(super) struct Rows {
    blocking: Blocking,
    input: Input,
    /// The first of the rows.
    first: usize,
}

/// A product of these rows.
struct Job<'a> {
    work: &'a Work<'a>,
    rows: &'a Rows,
}

impl Rows {
    /// Interleaves `x` `[rows, inputs]`, of which the first is row `first` of the result. The work is `shared` out
    /// if it is worth that.
    pub(super) fn new(
        isa: Isa,
        kind: TileKind,
        x: &[f32],
        inputs: usize,
        first: usize,
        shared: bool,
    ) -> Self {
        let blocking = Blocking::new(kind.by(isa), x.len() / inputs.max(1), inputs);
        Self {
            input: Input::new(isa, &blocking, x, inputs, shared),
            blocking,
            first,
        }
    }

    /// Computes the outputs of some panels.
    pub(super) fn panels(&self, work: &Work<'_>, matrix: Panels<'_>, panels: Range<usize>) {
        Job { work, rows: self }.panels(matrix, panels);
    }
}

impl Job<'_> {
    fn panels(&self, matrix: Panels<'_>, panels: Range<usize>) {
        let mut sums = NO_SUMS;
        if self.rows.blocking.tiles == 1 {
            // A decoder's product: reading the matrix is the work, and it is read in its own order,
            // so that the processor's prefetching sees one stream.
            for panel in panels {
                for block in 0..self.rows.blocking.blocks() {
                    self.tile(matrix, panel, block, 0, &mut sums);
                }
            }
            return;
        }
        // An encoder's product: blocks of inputs outermost, so that the interleaved input of a block
        // stays in the second level of the cache while all panels pass it, and so does a panel's block
        // while all tiles of rows pass it. Each tile has its share of the next panel brought there, which
        // would else be waited for.
        let tiles = self.rows.blocking.tiles;
        for block in 0..self.rows.blocking.blocks() {
            for panel in panels.clone() {
                let next = match panel + 1 < panels.end {
                    true => self.steps(matrix, panel + 1, block),
                    false => &[],
                };
                let mut shares = next.chunks(next.len().div_ceil(tiles).max(1));
                for tile in 0..tiles {
                    bring_near(shares.next().unwrap_or_default());
                    self.tile(matrix, panel, block, tile, &mut sums);
                }
            }
        }
    }

    /// A panel's part of a block.
    fn steps<'m>(&self, matrix: Panels<'m>, panel: usize, block: usize) -> &'m [u8] {
        let kind = self.rows.blocking.kind;
        let (first, count) = self.rows.blocking.block_steps(block);
        let (steps, _) = matrix.panel(panel);
        &steps[first * kind.bytes()..(first + count) * kind.bytes()]
    }

    fn tile(&self, matrix: Panels<'_>, panel: usize, block: usize, tile: usize, sums: &mut Sums) {
        let kind = self.rows.blocking.kind;
        let steps = self.steps(matrix, panel, block);
        let (own, rows) = self.rows.blocking.tile_rows(tile);
        let input = self.rows.input.tile(&self.rows.blocking, block, tile);
        let part = Part {
            panel,
            behind: matrix.panel(panel).1,
            row: self.rows.first + own,
            ranges: &self.rows.input.ranges[own..own + rows],
            earlier: block > 0,
            last: block + 1 == self.rows.blocking.blocks(),
        };
        self.work.prefetch(&part);
        tile::tile(self.work.isa, kind, rows, input, steps, sums);
        self.work
            .finish(&part, &sums.as_chunks::<PANEL>().0[..rows]);
    }
}
