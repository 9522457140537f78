//! In which order a unit passes rows, inputs and panels, so that each level of the cache holds what is
//! read again. Sums do not depend on it: each is made chunk by chunk from the first to the last.

use std::ops::Range;

use crate::kernel::product::layout::Layout;

/// Panels whose sums are kept while their blocks of inputs come one after another.
pub(super) const GROUP: usize = 8;

/// The sizes of a job's loops, from the outermost to the innermost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    layout: Layout,
    /// Groups of tiles.
    groups: usize,
    /// Blocks of chunks.
    blocks: usize,
    /// Slices of a block.
    slices: usize,
}

impl Plan {
    pub(super) fn new(layout: Layout) -> Self {
        /// The tiles of a group, about a picture's rows: the matrix is read once for each, which hardly
        /// shows, and what is read of the input for each panel stays near.
        const TILES: usize = 9;
        /// The bytes of a group's block of input, which stays in the second level of the cache: AMX comes
        /// with 2 MiB of it.
        const NEAR: usize = 5 << 18;
        /// The chunks of a slice: 24 KiB of a panel stay in the first level while all tiles of a group
        /// pass it.
        const SLICE: usize = 12;
        let groups = layout.tiles.div_ceil(TILES).max(1);
        let chunk_bytes = layout.tiles.div_ceil(groups) * 32 * 64;
        let block = (NEAR / chunk_bytes.max(1)).max(SLICE);
        let blocks = layout.chunks.div_ceil(block).max(1);
        let slices = match layout.tiles {
            // Nothing is read again.
            ..=1 => 1,
            _ => layout.chunks.div_ceil(blocks).div_ceil(SLICE),
        };
        Self {
            layout,
            groups,
            blocks,
            slices,
        }
    }

    /// The tiles of each group.
    pub(super) fn groups(self) -> impl Iterator<Item = Range<usize>> {
        split(0..self.layout.tiles, self.groups)
    }

    /// The chunks of each block.
    pub(super) fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        split(0..self.layout.chunks, self.blocks)
    }

    /// The chunks of each slice of a block.
    pub(super) fn slices(self, block: Range<usize>) -> impl Iterator<Item = Range<usize>> + Clone {
        split(block, self.slices)
    }

    /// Whether a panel's sums have to be kept from block to block.
    pub(super) fn keeps(self) -> bool {
        self.blocks > 1
    }
}

/// Parts as even as can be.
fn split(all: Range<usize>, parts: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let (start, len) = (all.start, all.len());
    let edge = move |n: usize| start + n * len / parts;
    (0..parts)
        .map(move |n| edge(n)..edge(n + 1))
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::isa::unit::Product;

    #[test]
    fn every_tile_meets_every_chunk_once_and_in_order() {
        for rows in [1, 31, 32, 33, 257, 513, 2056] {
            for inputs in [1, 588, 1408, 6144, 20_000] {
                let layout = Layout::new(Product::Bf16, rows, inputs);
                let plan = Plan::new(layout);
                let tiles: Vec<usize> = plan.groups().flatten().collect();
                assert_eq!(tiles, (0..layout.tiles).collect::<Vec<_>>());
                let slices = plan.blocks().flat_map(|block| plan.slices(block)).flatten();
                assert!(slices.eq(0..layout.chunks));
            }
        }
    }
}
