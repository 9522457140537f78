//! The inner loops of matrix products: a tile of a few input rows times one panel of a matrix. All the
//! arithmetic of a product is in its tiles; how their operands lie is in [`TileKind`].

use super::{
    Isa, portable,
    tile_kind::{Sums, TILE_ROWS, TileKind},
    wide,
};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// `sums[row][output] = Σ input[row] · panel[output]` over all steps of `panel`.
///
/// `input` holds `rows` interleaved rows: for each step, [`TileKind::words`] groups of a word for
/// each row. Instructions are fast with what is multiplied [by](TileKind::by) them, and plain Rust computes
/// the rest.
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
        return wide::tile(isa, rows, input, panel, sums);
    }
    #[cfg(target_arch = "x86_64")]
    {
        if isa >= Isa::Avx512 && avx512::tile(isa, kind, rows, input, panel, sums) {
            return;
        }
        if isa >= Isa::Avx2 && avx2::tile(isa, kind, rows, input, panel, sums) {
            return;
        }
    }
    let _ = isa;
    portable::tile(kind, rows, input, panel, sums);
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::{
        kernel::isa::tile_kind::{NO_SUMS, PANEL},
        random_values,
    };

    const KINDS: [TileKind; 7] = [
        TileKind::F32,
        TileKind::F16,
        TileKind::Bf16,
        TileKind::Bf16Rounded,
        TileKind::Int8,
        TileKind::Int8Signed,
        TileKind::Int4,
    ];

    /// An 8-bit number, often one at an end of its range.
    fn byte(value: f32) -> u8 {
        match value {
            0.8.. => 255,
            ..-0.8 => 0,
            _ => (127.5 + 150.0 * value) as u8,
        }
    }

    fn bytes(values: &[f32]) -> impl Iterator<Item = [u8; 4]> {
        let fours = values.as_chunks::<4>().0.iter();
        fours.map(|four| four.map(byte))
    }

    fn input(kind: TileKind, rows: usize, steps: usize) -> Vec<u32> {
        let words = steps * kind.words() * rows;
        let (few, many) = (random_values(words, 1), random_values(4 * words, 2));
        let fours = bytes(&many).map(u32::from_le_bytes);
        let integer = |place: usize| place / rows % 9 < 8;
        match kind {
            TileKind::Int8 => fours.collect(),
            TileKind::Int8Signed => {
                let signed = |x: u8| x.wrapping_sub(128) as i8;
                let fours: Vec<_> = bytes(&many).map(|four| four.map(signed)).collect();
                let steps = fours.chunks(2 * rows).flat_map(|step| {
                    let amounts = step[..rows].iter().map(|x| x.map(i8::unsigned_abs));
                    amounts.chain(step[..rows].iter().map(|x| x.map(|x| x as u8)))
                });
                steps.map(u32::from_le_bytes).collect()
            }
            TileKind::Int4 => fours
                .enumerate()
                .map(|(place, word)| if integer(place) { word } else { word % 999 })
                .collect(),
            _ => few.into_iter().map(f32::to_bits).collect(),
        }
    }

    fn panel(kind: TileKind, steps: usize) -> Vec<u8> {
        let size = steps * kind.bytes();
        let values = random_values(size, 3);
        let halves = values.iter().take(size / 2);
        match kind {
            TileKind::F32 => values[..size / 4]
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect(),
            TileKind::F16 => halves
                .flat_map(|w| f16::from_f32(*w).to_le_bytes())
                .collect(),
            TileKind::Bf16 | TileKind::Bf16Rounded => halves
                .flat_map(|w| bf16::from_f32(*w).to_le_bytes())
                .collect(),
            TileKind::Int4 => {
                let mut panel: Vec<u8> = values.iter().map(|w| byte(*w)).collect();
                for step in panel.chunks_exact_mut(18 * PANEL) {
                    for (scale, w) in step[16 * PANEL..].as_chunks_mut().0.iter_mut().zip(&values) {
                        *scale = f16::from_f32(w / 1000.0).to_le_bytes();
                    }
                }
                panel
            }
            _ => values.iter().map(|w| byte(*w).max(1) ^ 128).collect(),
        }
    }

    /// Every kind by every set of instructions for every number of rows, over blocks that a kernel takes at
    /// once and some more.
    #[test]
    #[cfg_attr(miri, ignore = "takes hours")]
    fn tiles_are_those_of_plain_rust() {
        for kind in KINDS {
            for steps in [1, 7, 600] {
                let panel = panel(kind, steps);
                for rows in 1..=TILE_ROWS {
                    let input = input(kind, rows, steps);
                    let by = |isa| {
                        let mut sums = NO_SUMS;
                        tile(isa, kind, rows, &input, &panel, &mut sums);
                        sums
                    };
                    let expected = by(Isa::Portable);
                    for isa in Isa::available() {
                        for (found, expected) in by(isa).iter().zip(expected.iter()) {
                            let same = match kind {
                                TileKind::Int8 | TileKind::Int8Signed => {
                                    found.to_bits() == expected.to_bits()
                                }
                                _ => (found - expected).abs() < 1e-4 * (1.0 + expected.abs()),
                            };
                            assert!(same, "{isa} {kind:?} {rows} {steps}: {found} {expected}");
                        }
                    }
                }
            }
        }
    }
}
