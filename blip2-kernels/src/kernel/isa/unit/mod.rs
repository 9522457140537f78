//! Matrix units: what multiplies a block of rows with a part of a panel at once, out of registers that
//! each hold a small matrix.
//!
//! A unit's register holds 16 rows of 64 bytes. A panel lies as the registers want it: 16 of its steps
//! are two registers' worth, beside one another, the left 16 outputs and the right 16. The input has a
//! layout of its own, a line of the cache for each row and 16 steps. So a unit takes steps 16 at a time,
//! a *chunk*, and up to two times 16 rows: four registers of sums, two of the input, two of the panel.
//!
//! | | a chunk |
//! |---|---|
//! | input | for each row a [`Line`]: 16 words, of two `bf16` or four `u8` |
//! | panel | 16 steps as they lie in the matrix: 16 × 32 words, of two `bf16` or four `i8` |
//!
//! [`Amx`](amx::Amx) has the instructions, [`Emulated`](emulated::Emulated) is their meaning in plain
//! Rust, to the bit.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod amx;
pub(crate) mod emulated;

use super::{
    Isa,
    tile_kind::{Aligned, PANEL, TileKind},
};

/// The steps of a chunk.
pub(crate) const CHUNK: usize = 16;

/// The bytes of a panel's chunk.
pub(crate) const CHUNK_BYTES: usize = CHUNK * 4 * PANEL;

/// The rows of a register.
pub(crate) const HALF: usize = 16;

/// The most rows that a unit takes at once.
pub(crate) const UNIT_ROWS: usize = 2 * HALF;

/// A row's part of a chunk.
pub(crate) type Line = Aligned<[u8; 64]>;

/// The sums of a unit, `[row][output]`. Sums of [`Product::Int8`] are the bits of an `i32`.
pub(crate) type UnitSums = Aligned<[f32; UNIT_ROWS * PANEL]>;

/// What a unit multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// Pairs of brain floats. The 16 first of each pair of a chunk are summed in a row of fused
    /// multiply-adds, and the second in another; both together are added to the sum. Numbers too small
    /// to be normal are 0, before and after each step.
    Bf16,
    /// Fours of 8-bit integers, unsigned by signed, summed exactly.
    Int8,
}

impl Product {
    /// How a unit multiplies what tiles multiply so, if there is one that does.
    pub(crate) fn of(isa: Isa, kind: TileKind) -> Option<Self> {
        match (isa, kind) {
            (Isa::Amx | Isa::AmxEmulated, TileKind::Bf16Dot) => Some(Self::Bf16),
            (Isa::Amx | Isa::AmxEmulated, TileKind::Int8) => Some(Self::Int8),
            _ => None,
        }
    }
}

/// What a unit multiplies at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) product: Product,
    /// 32, 16, or as many as the unit was made ready for.
    pub(crate) rows: usize,
    /// `[chunks][rows]`
    pub(crate) input: &'a [Line],
    /// [`CHUNK_BYTES`] for each chunk.
    pub(crate) panel: &'a [u8],
    /// Whether the products are added to the sums that there are.
    pub(crate) add: bool,
    /// What will be read soon.
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux")),
        allow(dead_code)
    )]
    pub(crate) ahead: Ahead,
}

/// A stretch of memory that is brought near while a block is computed, by a unit that can.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code)
)]
pub(crate) struct Ahead {
    /// May be any address.
    pub(crate) start: *const u8,
    /// Lines of the cache for each chunk.
    pub(crate) lines: usize,
}

impl Ahead {
    pub(crate) const NOTHING: Self = Self {
        start: std::ptr::null(),
        lines: 0,
    };
}

impl Block<'_> {
    /// The number of chunks; checks what kernels rely on.
    fn chunks(&self, ready_for: usize) -> usize {
        let rows = self.rows;
        assert!(
            rows == UNIT_ROWS || rows == ready_for.min(HALF),
            "{rows} rows where {ready_for} were foreseen"
        );
        let chunks = self.panel.len() / CHUNK_BYTES;
        assert_eq!(self.panel.len(), chunks * CHUNK_BYTES, "whole chunks");
        assert_eq!(self.input.len(), chunks * rows, "a line for each row");
        assert!(chunks > 0, "a product of something");
        chunks
    }
}

/// A matrix unit of a thread.
pub(crate) trait MatrixUnit {
    /// Makes the unit of this thread ready for blocks of 32 and of 16 rows, or if there are fewer than 16
    /// rows in all for blocks of these.
    fn ready(rows: usize) -> Self;

    /// `sums[row][output] = Σ input[row] · panel[output]`, or added to what is there.
    fn multiply(&self, block: &Block<'_>, sums: &mut UnitSums);
}

#[cfg(test)]
mod tests {
    use super::{emulated::Emulated, *};
    use crate::random_values;

    /// Random words, by what makes one of three numbers between −1 and 1.
    fn words(len: usize, seed: u64, word: impl Fn([f32; 3]) -> u32) -> Vec<u8> {
        let values = random_values(3 * len, seed);
        let words = values.as_chunks().0.iter().map(|three| word(*three));
        words.flat_map(u32::to_le_bytes).collect()
    }

    /// Four integers.
    fn integers([a, b, c]: [f32; 3]) -> u32 {
        (a.to_bits() << 4) ^ (b.to_bits() << 13) ^ (c.to_bits() << 22) ^ (c.to_bits() >> 3)
    }

    /// Two brain floats of common sizes.
    fn pairs([a, b, _]: [f32; 3]) -> u32 {
        (a.to_bits() >> 16) | (b.to_bits() & 0xffff_0000)
    }

    /// Two brain floats of all sizes there are, sometimes not finite.
    fn extreme(three: [f32; 3]) -> u32 {
        match three[2] {
            0.8.. => integers(three),
            _ => pairs(three),
        }
    }

    /// Two brain floats whose products, and sums of products, are about the smallest normal number.
    fn small([a, b, c]: [f32; 3]) -> u32 {
        let scale = 2f32.powf(-62.0 + 2.0 * c);
        pairs([a * scale, b * scale, c])
    }

    struct Case {
        product: Product,
        rows: usize,
        input: Vec<Line>,
        panel: Vec<u8>,
        sums: UnitSums,
    }

    impl Case {
        fn new(product: Product, rows: usize, chunks: usize, word: fn([f32; 3]) -> u32) -> Self {
            let input = words(CHUNK * rows * chunks, 1, word);
            let mut sums = Aligned([0.0; UNIT_ROWS * PANEL]);
            let before = words(sums.len(), 3, word);
            for (sum, before) in sums.iter_mut().zip(before.as_chunks::<4>().0) {
                *sum = f32::from_le_bytes(*before);
            }
            Self {
                product,
                rows,
                input: input.as_chunks().0.iter().copied().map(Aligned).collect(),
                panel: words(chunks * CHUNK_BYTES / 4, 2, word),
                sums,
            }
        }

        fn multiply<U: MatrixUnit>(&self, add: bool) -> UnitSums {
            let mut sums = self.sums;
            let block = Block {
                product: self.product,
                rows: self.rows,
                input: &self.input,
                panel: &self.panel,
                add,
                ahead: Ahead {
                    start: self.panel.as_ptr(),
                    lines: 3,
                },
            };
            U::ready(self.rows).multiply(&block, &mut sums);
            sums
        }

        fn word(&self, row: usize, step: usize) -> [u8; 4] {
            let line = &self.input[step / CHUNK * self.rows + row];
            line.as_chunks::<4>().0[step % CHUNK]
        }

        fn weight(&self, step: usize, output: usize) -> [u8; 4] {
            self.panel.as_chunks::<4>().0[step * PANEL + output]
        }

        fn steps(&self) -> usize {
            self.panel.len() / (4 * PANEL)
        }
    }

    const SIZES: [(usize, usize); 7] =
        [(1, 1), (5, 3), (15, 2), (16, 1), (16, 4), (32, 1), (32, 5)];

    #[test]
    fn integers_are_summed_exactly() {
        for (rows, chunks) in SIZES {
            let case = Case::new(Product::Int8, rows, chunks, integers);
            for add in [false, true] {
                let sums = case.multiply::<Emulated>(add);
                for (place, (sum, before)) in sums.iter().zip(case.sums.iter()).enumerate() {
                    let (row, output) = (place / PANEL, place % PANEL);
                    let products = (0..if row < rows { case.steps() } else { 0 }).map(|step| {
                        let pairs = case
                            .word(row, step)
                            .into_iter()
                            .zip(case.weight(step, output));
                        pairs
                            .map(|(x, w)| i32::from(x) * i32::from(w as i8))
                            .sum::<i32>()
                    });
                    let keeps = add || row >= rows;
                    let before = if keeps { before.to_bits() as i32 } else { 0 };
                    let expected = before.wrapping_add(products.sum());
                    assert_eq!(
                        sum.to_bits() as i32,
                        expected,
                        "{rows} {chunks} {add} {place}"
                    );
                }
            }
        }
    }

    #[test]
    fn brain_floats_are_summed_nearly_exactly() {
        let wide = |bytes: [u8; 4]| {
            let word = u32::from_le_bytes(bytes);
            [word << 16, word & 0xffff_0000].map(|bits| f64::from(f32::from_bits(bits)))
        };
        for (rows, chunks) in SIZES {
            let case = Case::new(Product::Bf16, rows, chunks, pairs);
            for add in [false, true] {
                let sums = case.multiply::<Emulated>(add);
                for (place, (sum, before)) in sums.iter().zip(case.sums.iter()).enumerate() {
                    let (row, output) = (place / PANEL, place % PANEL);
                    let products = (0..if row < rows { case.steps() } else { 0 }).map(|step| {
                        let [[a, b], [c, d]] =
                            [wide(case.word(row, step)), wide(case.weight(step, output))];
                        a * c + b * d
                    });
                    let before = if add || row >= rows { *before } else { 0.0 };
                    let error = f64::from(*sum) - f64::from(before) - products.sum::<f64>();
                    assert!(error.abs() < 1e-5, "{rows} {chunks} {add} {place}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_too_small_to_be_normal_is_nothing() {
        let smallest = u32::from(half::bf16::MIN_POSITIVE.to_bits());
        let word = |bits: u32| bits.to_le_bytes();
        let of = |input: u32, weight: u32| {
            let mut case = Case::new(Product::Bf16, 1, 1, |_| 0);
            case.input[0][..4].copy_from_slice(&word(input));
            case.panel[..4].copy_from_slice(&word(weight));
            case.multiply::<Emulated>(false)[0]
        };
        let one = u32::from(half::bf16::ONE.to_bits());
        assert_eq!(of(smallest, one), f32::MIN_POSITIVE);
        assert_eq!(of(smallest - 1, one), 0.0, "an operand");
        assert_eq!(of(smallest, one - (1 << 7)), 0.0, "a product");
        let both = [smallest + 1, (smallest | 0x8000) << 16].into_iter().sum();
        assert_eq!(of(both, one | one << 16), 0.0, "a sum");
    }

    /// On a machine with AMX: the emulation is its meaning to the bit.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn the_instructions_are_the_emulation() {
        if !Isa::available().any(|isa| isa == Isa::Amx) {
            return;
        }
        for (rows, chunks) in SIZES {
            for (product, word) in [
                (Product::Int8, integers as fn([f32; 3]) -> u32),
                (Product::Bf16, pairs),
                (Product::Bf16, extreme),
                (Product::Bf16, small),
            ] {
                let case = Case::new(product, rows, chunks, word);
                for add in [false, true] {
                    let sums = [
                        case.multiply::<amx::Amx>(add),
                        case.multiply::<Emulated>(add),
                    ];
                    for (place, (found, expected)) in sums[0].iter().zip(sums[1].iter()).enumerate()
                    {
                        let nan = product == Product::Bf16 && found.is_nan() && expected.is_nan();
                        assert!(
                            nan || found.to_bits() == expected.to_bits(),
                            "{product:?} {rows} {chunks} {add} {place}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}
