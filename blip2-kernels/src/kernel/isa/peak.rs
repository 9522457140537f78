//! The most that a core can multiply.

use std::hint::black_box;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::unit::{Product, amx::Amx};
use super::{
    Isa,
    tile::tile,
    tile_kind::{NO_SUMS, PANEL, TILE_ROWS, TileKind},
};

/// Multiplies for less than a millisecond, by the instructions that products of `kind` use and with
/// operands that stay in registers or in the first level of the cache. Returns the operations done, two
/// for a multiply-add.
pub(crate) fn saturate(isa: Isa, kind: TileKind) -> f64 {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if isa == Isa::Amx
        && let Some(product) = Product::of(isa, kind)
    {
        return Amx::saturate(product);
    }
    by_tiles(isa, kind.by(isa))
}

fn by_tiles(isa: Isa, kind: TileKind) -> f64 {
    /// Inputs of a tile.
    const INPUTS: usize = 128;
    const ROUNDS: usize = 64;
    let steps = INPUTS / kind.step();
    let input = vec![0u32; steps * kind.words() * TILE_ROWS];
    let panel = vec![0u8; steps * kind.bytes()];
    let mut sums = NO_SUMS;
    for _ in 0..ROUNDS {
        tile(isa, kind, TILE_ROWS, black_box(&input), &panel, &mut sums);
        black_box(&mut sums);
    }
    (2 * ROUNDS * INPUTS * TILE_ROWS * PANEL) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_does_some_work_of_every_kind() {
        for isa in Isa::available() {
            for kind in [
                TileKind::F32,
                TileKind::Bf16Dot,
                TileKind::Int8,
                TileKind::Int4,
            ] {
                assert!(saturate(isa, kind) > 0.0, "{isa} {kind:?}");
            }
        }
    }
}
