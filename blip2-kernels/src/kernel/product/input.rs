//! The input of a product, interleaved for tiles and in the format that the matrix asks for.

use crate::kernel::isa::{
    Isa, LANES,
    tile_kind::{TILE_ROWS, TileKind},
    unit::Line,
    vectorized,
};
use crate::kernel::{math, threads};

/// The steps that a tile takes at once, and the rows of its tiles: what the layout of an
/// [`Input`] follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocking {
    pub(super) kind: TileKind,
    /// All steps.
    pub(super) steps: usize,
    /// The steps of a block, of which the last may have fewer.
    pub(super) block: usize,
    /// All rows.
    pub(super) rows: usize,
    pub(super) tiles: usize,
}

impl Blocking {
    /// Floats are summed in blocks of about 700 steps: the input of a tile then stays in the first
    /// level of the cache, and sums are more exact than in one go. The blocks depend on nothing but
    /// the number of inputs, so that a row's result does not depend on how many rows there are.
    pub(super) fn new(kind: TileKind, rows: usize, inputs: usize) -> Self {
        let steps = inputs.div_ceil(kind.step());
        let longest = match kind {
            TileKind::F32 | TileKind::F16 | TileKind::Bf16Dot | TileKind::Bf16Rounded => 768,
            TileKind::Bf16 => 384,
            TileKind::F32Wide | TileKind::Int8 | TileKind::Int8Signed | TileKind::Int4 => {
                steps.max(1)
            }
        };
        let blocks = steps.div_ceil(longest).max(1);
        Self {
            kind,
            steps,
            block: steps.div_ceil(blocks).max(1),
            rows,
            tiles: rows.div_ceil(TILE_ROWS),
        }
    }

    pub(super) fn blocks(&self) -> usize {
        self.steps.div_ceil(self.block)
    }

    /// The first step of a block, and the number of its steps.
    pub(super) fn block_steps(&self, block: usize) -> (usize, usize) {
        let first = block * self.block;
        (first, self.block.min(self.steps - first))
    }

    /// The first row of a tile, and the number of its rows: as even as can be, since a tile of few
    /// rows is not worth its reading of the panel.
    pub(super) fn tile_rows(&self, tile: usize) -> (usize, usize) {
        let (each, more) = (self.rows / self.tiles, self.rows % self.tiles);
        (
            tile * each + tile.min(more),
            each + usize::from(tile < more),
        )
    }
}

/// Interleaved rows.
pub(super) struct Input {
    words: Vec<u32>,
    /// Of integers: how to widen each row again.
    pub(super) ranges: Vec<Range>,
}

/// `x = scale · (integer − zero)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl Range {
    /// Of what needs no widening.
    pub(super) const NONE: Self = Self {
        scale: 0.0,
        zero: 0,
    };
}

impl Input {
    /// Interleaves `x` `[rows, inputs]`, the work of which is `shared` out if it is worth that.
    pub(super) fn new(
        isa: Isa,
        blocking: &Blocking,
        x: &[f32],
        inputs: usize,
        shared: bool,
    ) -> Self {
        let words_of_row = blocking.steps * blocking.kind.words();
        let mut words = vec![0; words_of_row * blocking.rows];
        let mut ranges = vec![Range::NONE; blocking.rows];
        // Block by block, tile by tile: each is a stretch of its own.
        let mut stretches: Vec<(usize, usize, &mut [u32])> = Vec::new();
        let mut rest = words.as_mut_slice();
        for block in 0..blocking.blocks() {
            let (_, steps) = blocking.block_steps(block);
            for tile in 0..blocking.tiles {
                let (_, rows) = blocking.tile_rows(tile);
                let (stretch, behind) = rest.split_at_mut(steps * blocking.kind.words() * rows);
                stretches.push((block, tile, stretch));
                rest = behind;
            }
        }
        let rows = |tile: usize| {
            let (first, rows) = blocking.tile_rows(tile);
            &x[first * inputs..(first + rows) * inputs]
        };
        if blocking.kind.is_integer() {
            // One block, so that the tiles are all stretches there are.
            let mut rest = ranges.as_mut_slice();
            let mut tiles = Vec::with_capacity(blocking.tiles);
            for (_, tile, stretch) in stretches {
                let (ranges, behind) = rest.split_at_mut(blocking.tile_rows(tile).1);
                tiles.push((tile, stretch, ranges));
                rest = behind;
            }
            each(shared, tiles, |(tile, stretch, ranges)| {
                integers(isa, blocking, rows(tile), inputs, stretch, ranges);
            });
        } else {
            each(shared, stretches, |(block, tile, stretch)| {
                let (first, _) = blocking.block_steps(block);
                floats(isa, blocking.kind, rows(tile), inputs, first, stretch);
            });
        }
        Self { words, ranges }
    }

    /// The words of a tile in a block.
    pub(super) fn tile(&self, blocking: &Blocking, block: usize, tile: usize) -> &[u32] {
        let (first, steps) = blocking.block_steps(block);
        let (row, rows) = blocking.tile_rows(tile);
        let words = blocking.kind.words();
        let start = first * words * blocking.rows + steps * words * row;
        &self.words[start..start + steps * words * rows]
    }
}

/// Few items, as a decoder has, are not worth waking threads.
fn each<T: Send>(shared: bool, items: Vec<T>, f: impl Fn(T) + Send + Sync) {
    match shared && items.len() >= 4 {
        true => threads::each(items, f),
        false => items.into_iter().for_each(f),
    }
}

/// A tile's block of floats; `x` holds the tile's rows.
fn floats(isa: Isa, kind: TileKind, x: &[f32], inputs: usize, first: usize, words: &mut [u32]) {
    // Rows are read contiguously and written a word apart from each other by the number of rows; few
    // steps at a time, so that the lines that are written in part stay in the first level of the cache
    // until they are whole.
    const STEPS: usize = 64;
    let rows = x.len() / inputs.max(1);
    let (step, width) = (kind.step(), STEPS * kind.words() * rows);
    for (part, words) in words.chunks_mut(width).enumerate() {
        let start = ((first + part * STEPS) * step).min(inputs);
        let end = (start + STEPS * step).min(inputs);
        for (row, x) in x.chunks_exact(inputs.max(1)).enumerate() {
            let x = &x[start..end];
            match kind {
                TileKind::Bf16Dot => interleave_pairs(isa, x, row, rows, words),
                TileKind::Bf16Rounded => interleave_rounded(isa, x, row, rows, words),
                _ => interleave(isa, x, row, rows, words),
            }
        }
    }
}

vectorized! {
    pub(crate) fn interleave(x: &[f32], row: usize, rows: usize, words: &mut [u32]) {
        for (words, x) in words.chunks_exact_mut(rows).zip(x) {
            words[row] = x.to_bits();
        }
    }
}

vectorized! {
    /// Brain floats as wide as they were.
    fn interleave_rounded(x: &[f32], row: usize, rows: usize, words: &mut [u32]) {
        for (words, x) in words.chunks_exact_mut(rows).zip(x) {
            words[row] = math::bf16_bits(*x) << 16;
        }
    }
}

vectorized! {
    /// Pairs of brain floats, one word each; an odd one stands beside a zero.
    pub(crate) fn interleave_pairs(x: &[f32], row: usize, rows: usize, words: &mut [u32]) {
        // Rounding is vectorised, writing words apart from each other is not.
        const BLOCK: usize = 64;
        let mut block = [0; BLOCK];
        for (x, words) in x.chunks(2 * BLOCK).zip(words.chunks_mut(BLOCK * rows)) {
            let (pairs, rest) = x.as_chunks::<2>();
            for (word, &[low, high]) in block.iter_mut().zip(pairs) {
                *word = math::bf16_bits(low) | (math::bf16_bits(high) << 16);
            }
            if let (Some(word), Some(&last)) = (block.get_mut(pairs.len()), rest.first()) {
                *word = math::bf16_bits(last);
            }
            for (words, word) in words.chunks_exact_mut(rows).zip(block) {
                words[row] = word;
            }
        }
    }
}

vectorized! {
    /// Rounds a row to pairs of brain floats in lines for a matrix unit, from each of which `rows` lines
    /// lead to the next; what a line has left is 0.
    pub(crate) fn line_pairs(x: &[f32], lines: &mut [Line], rows: usize) {
        const NUMBERS: usize = 32;
        for (x, lines) in x.chunks(NUMBERS).zip(lines.chunks_mut(rows)) {
            let Some(line) = lines.first_mut() else { return };
            let mut padded = [0f32; NUMBERS];
            let whole = <&[f32; NUMBERS]>::try_from(x).unwrap_or_else(|_| {
                padded[..x.len()].copy_from_slice(x);
                &padded
            });
            for (place, &x) in line.as_chunks_mut::<2>().0.iter_mut().zip(whole) {
                *place = (math::bf16_bits(x) as u16).to_le_bytes();
            }
        }
    }
}

/// A tile of integers.
fn integers(
    isa: Isa,
    blocking: &Blocking,
    x: &[f32],
    inputs: usize,
    words: &mut [u32],
    ranges: &mut [Range],
) {
    let rows = ranges.len();
    let mut bytes = vec![0u8; blocking.steps * blocking.kind.step()];
    for (row, range) in ranges.iter_mut().enumerate() {
        let x = &x[row * inputs..(row + 1) * inputs];
        *range = quantize(isa, x, &mut bytes);
        match blocking.kind {
            TileKind::Int4 => interleave_groups(isa, &bytes, row, rows, words),
            TileKind::Int8Signed => {
                range.zero -= 128;
                interleave_signed(isa, &bytes, row, rows, words);
            }
            _ => interleave_bytes(isa, &bytes, row, rows, words),
        }
    }
}

vectorized! {
    fn interleave_bytes(bytes: &[u8], row: usize, rows: usize, words: &mut [u32]) {
        for (words, four) in words.chunks_exact_mut(rows).zip(bytes.as_chunks::<4>().0) {
            words[row] = u32::from_le_bytes(*four);
        }
    }
}

vectorized! {
    /// Numbers 128 below their value: of each four the amounts, then the numbers themselves.
    fn interleave_signed(bytes: &[u8], row: usize, rows: usize, words: &mut [u32]) {
        for (words, four) in words.chunks_exact_mut(2 * rows).zip(bytes.as_chunks::<4>().0) {
            let signed = four.map(|x| x.wrapping_sub(128) as i8);
            words[row] = u32::from_le_bytes(signed.map(i8::unsigned_abs));
            words[rows + row] = u32::from_le_bytes(signed.map(|x| x as u8));
        }
    }
}

vectorized! {
    /// Each group of 32 is followed by −8 times its sum, which takes back that the matrix holds
    /// integers 8 above their value.
    fn interleave_groups(bytes: &[u8], row: usize, rows: usize, words: &mut [u32]) {
        for (words, group) in words.chunks_exact_mut(9 * rows).zip(bytes.as_chunks::<32>().0) {
            for (words, four) in words.chunks_exact_mut(rows).zip(group.as_chunks::<4>().0) {
                words[row] = u32::from_le_bytes(*four);
            }
            let sum: i32 = group.iter().map(|&x| i32::from(x)).sum();
            words[8 * rows + row] = (-8 * sum) as u32;
        }
    }
}

vectorized! {
    /// Rounds a row to 8 bits between its smallest and its largest value; 0 stays exactly 0, and
    /// padding is 0.
    pub(super) fn quantize(x: &[f32], bytes: &mut [u8]) -> Range {
        // A comparison takes longer than the next one could begin: four vectors of each kind.
        const WIDE: usize = 4 * LANES;
        let (mut low, mut high) = ([0f32; WIDE], [0f32; WIDE]);
        // Zero, or not a number if anything is not finite: which must not vanish in the rounding.
        let mut poison = [0f32; WIDE];
        let (lanes, rest) = x.as_chunks::<WIDE>();
        for x in lanes {
            for lane in 0..WIDE {
                poison[lane] += x[lane] * 0.0;
                low[lane] = if x[lane] < low[lane] { x[lane] } else { low[lane] };
                high[lane] = if x[lane] > high[lane] { x[lane] } else { high[lane] };
            }
        }
        let low = low.iter().chain(rest).fold(0f32, |low, &x| low.min(x));
        let high = high.iter().chain(rest).fold(0f32, |high, &x| high.max(x));
        // A NaN fails every comparison above; through `poison` it makes the row's scale NaN.
        let poison = poison.iter().sum::<f32>() + rest.iter().map(|x| x * 0.0).sum::<f32>();
        let scale = (high - low) / 255.0 + poison;
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let zero = (-low * inverse).round_ties_even();
        for (byte, &x) in bytes.iter_mut().zip(x) {
            // Adding 2²³ rounds to an integer and leaves it in the low bits.
            let rounded = (x * inverse + zero).clamp(0.0, 255.0) + 8_388_608.0;
            *byte = rounded.to_bits() as u8;
        }
        bytes[x.len()..].fill(zero as u8);
        Range { scale, zero: zero as i32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_and_blocks_cover_all_rows_and_steps() {
        for rows in 1..60 {
            for inputs in [1, 2, 31, 513, 1408, 6144] {
                let blocking = Blocking::new(TileKind::F32, rows, inputs);
                let mut row = 0;
                for tile in 0..blocking.tiles {
                    let (first, count) = blocking.tile_rows(tile);
                    assert_eq!(first, row);
                    assert!((1..=TILE_ROWS).contains(&count));
                    row += count;
                }
                assert_eq!(row, rows);
                let steps: usize = (0..blocking.blocks())
                    .map(|block| blocking.block_steps(block).1)
                    .sum();
                assert_eq!(steps, inputs);
            }
        }
    }

    #[test]
    fn quantized_rows_come_back_within_half_a_step() {
        for isa in Isa::available() {
            for len in [1, 15, 16, 17, 257] {
                let x: Vec<f32> = (0..len)
                    .map(|i| ((i * 37 % 64) as f32 - 9.0) * 0.11)
                    .collect();
                let mut bytes = vec![0; len + 3];
                let range = quantize(isa, &x, &mut bytes);
                for (x, byte) in x.iter().zip(&bytes) {
                    let wide = range.scale * (i32::from(*byte) - range.zero) as f32;
                    assert!(
                        (wide - x).abs() <= range.scale * 0.501,
                        "{isa}: {x} became {wide}"
                    );
                }
                assert!(
                    bytes[len..]
                        .iter()
                        .all(|&byte| i32::from(byte) == range.zero)
                );
            }
            let range = quantize(isa, &[0.0; 20], &mut [1; 20]);
            assert_eq!(
                range,
                Range {
                    scale: 0.0,
                    zero: 0
                }
            );
        }
    }
}
