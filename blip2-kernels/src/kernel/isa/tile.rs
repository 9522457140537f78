//! The inner loops of matrix products: a tile of a few input rows times one panel of a matrix. All the
//! arithmetic of a product is in its tiles; how their operands lie is in [`TileKind`].

use super::{
    Isa, portable,
    tile_kind::{PANEL, Sums, TILE_ROWS, TileKind},
    vectorized,
};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// `sums[row][output] = Σ input[row] · panel[output]` over all steps of `panel`.
///
/// `input` holds `rows` interleaved rows: for each step, [`TileKind::words`] groups of a word for
/// each row.
pub(crate) fn tile(
    isa: Isa,
    kind: TileKind,
    rows: usize,
    input: &[u32],
    panel: &[u8],
    sums: &mut Sums,
) {
    let steps = panel.len() / kind.bytes();
    // What every kernel below relies on; the cost of three comparisons in a tile does not show.
    assert!((1..=TILE_ROWS).contains(&rows), "a tile has 1 to 12 rows");
    assert_eq!(panel.len(), steps * kind.bytes(), "a panel of whole steps");
    assert!(
        input.len() >= steps * kind.words() * rows,
        "an input for each step"
    );
    if kind == TileKind::F32Wide {
        return wide(isa, rows, input, panel, sums);
    }
    #[cfg(target_arch = "x86_64")]
    {
        if isa >= Isa::Avx512 && avx512::tile(isa, kind, rows, input, panel, sums) {
            return;
        }
        if isa >= Isa::Avx2 {
            return avx2::tile(kind, rows, input, panel, sums);
        }
    }
    let _ = isa;
    portable::tile(kind, rows, input, panel, sums);
}

vectorized! {
    /// Exact products, summed in 64 bits and rounded once.
    fn wide(rows: usize, input: &[u32], panel: &[u8], sums: &mut Sums) {
        for (row, sums) in sums.chunks_exact_mut(PANEL).take(rows).enumerate() {
            let mut exact = [0f64; PANEL];
            let steps = input.chunks_exact(rows).zip(panel.chunks_exact(4 * PANEL));
            for (input, panel) in steps {
                let x = f64::from(f32::from_bits(input[row]));
                for (sum, w) in exact.iter_mut().zip(panel.as_chunks::<4>().0) {
                    *sum += x * f64::from(f32::from_le_bytes(*w));
                }
            }
            for (sum, exact) in sums.iter_mut().zip(exact) {
                *sum = exact as f32;
            }
        }
    }
}
