//! Attention on slices: scores, softmax and values in one go for a few queries at a time, so that
//! no map is ever written to memory.

mod exact;
pub(crate) mod rows;
mod unit;

use rayon::prelude::*;

use self::rows::{KeyRows, View};
use crate::{
    kernel::{
        isa::{
            Isa, LANES, tile,
            tile_kind::{NO_SUMS, PANEL, TILE_ROWS, TileKind},
            unit::{Line, Product},
            vectorized,
        },
        math,
        product::input::{interleave, interleave_pairs},
    },
    mask::MASKED,
};

/// Fewer queries than this read keys and values as they lie: interleaving them would cost as much.
const FEW: usize = 4;

/// Heads with fewer products of a key than this are computed in 64 bits, for the reason that small
/// matrices are: see [`PackedMatrix::kind`](crate::matrix::packed::PackedMatrix::kind). Those of published
/// models are larger.
const SMALL: usize = 1024;

/// From products to scores.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scoring<'a> {
    pub(crate) scale: f32,
    /// `[batch, heads, queries, keys]`, by broadcasting.
    pub(crate) bias: Option<View<'a>>,
    /// Of causal attention, how many keys are before the first query: the query `i` sees `past + i + 1`.
    pub(crate) past: Option<usize>,
}

/// `softmax(q · kᵀ · scale + bias) · v`, `[batch, queries, heads, head_dim]`: heads within a
/// position, as the projection behind attention reads them.
///
/// With `rounded`, the operands of both products are brain floats where there are instructions for them.
pub(crate) fn attend(
    isa: Isa,
    rounded: bool,
    q: View<'_>,
    [k, v]: [&dyn KeyRows; 2],
    scoring: Scoring<'_>,
) -> Vec<f32> {
    let [batch, heads, queries, depth] = q.dims;
    let ([_, groups, keys, _], width) = (k.dims(), v.dims()[3]);
    let by_unit = rounded && Product::of(isa, TileKind::Bf16Dot).is_some();
    let kind = if rounded && isa >= Isa::Avx512Bf16 {
        TileKind::Bf16Dot
    } else {
        TileKind::F32
    };
    let head = |index: usize, scratch: &mut Scratch| {
        let head = Head {
            isa,
            kind,
            q,
            k,
            v,
            scoring,
            batch: index / heads,
            head: index % heads,
            group: index % heads * groups / heads,
            keys,
            width,
        };
        if keys * width.max(depth) < SMALL {
            return exact::attend(&head);
        }
        let mut y = vec![0.0; queries * width];
        match queries {
            ..FEW => head.few(scratch, &mut y),
            _ if by_unit => unit::attend(&head, scratch, &mut y),
            _ => head.many(scratch, &mut y),
        }
        y
    };
    // A head is a task: heads share nothing, and there are enough of them for the threads. What a
    // decoder asks for at each step is done sooner than other threads are woken.
    let work = batch * heads * queries * keys * width;
    let parts: Vec<Vec<f32>> = if work < 1 << 19 {
        let mut scratch = Scratch::default();
        (0..batch * heads).map(|n| head(n, &mut scratch)).collect()
    } else {
        (0..batch * heads)
            .into_par_iter()
            .map_init(Scratch::default, |scratch, n| head(n, scratch))
            .collect()
    };
    // Heads go side by side within a position: the projection behind attention then reads rows that
    // are contiguous, and nothing has to be transposed for it.
    let mut y = Vec::with_capacity(batch * queries * heads * width);
    for batch in parts.chunks(heads.max(1)) {
        for query in 0..queries {
            for head in batch {
                y.extend_from_slice(&head[query * width..(query + 1) * width]);
            }
        }
    }
    y
}

/// Buffers that a thread uses for one head after another.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    words: Vec<u32>,
    keys: Vec<u8>,
    values: Vec<u8>,
    /// Of a matrix unit: what is multiplied with keys, and with values.
    lines: [Vec<Line>; 2],
}

/// One head of one sequence.
pub(super) struct Head<'a> {
    isa: Isa,
    /// How products are computed.
    kind: TileKind,
    q: View<'a>,
    k: &'a dyn KeyRows,
    v: &'a dyn KeyRows,
    scoring: Scoring<'a>,
    batch: usize,
    head: usize,
    /// The head of keys and values.
    group: usize,
    keys: usize,
    /// Of a value.
    pub(super) width: usize,
}

impl Head<'_> {
    pub(super) fn queries(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.q.dims[2]).map(|n| self.q.row(self.batch, self.head, n))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.keys).map(|n| self.k.row(self.batch, self.group, n))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.keys).map(|n| self.v.row(self.batch, self.group, n))
    }

    /// What is added to a query's scores.
    fn bias(&self, query: usize) -> Option<&[f32]> {
        Some(self.scoring.bias?.row(self.batch, self.head, query))
    }

    /// From products with the first keys to the scores of a query: scales them, adds its bias, and hides what
    /// it does not see.
    pub(super) fn score(&self, query: usize, products: &mut [f32]) {
        let scale = self.scoring.scale;
        match self.bias(query) {
            Some(bias) => scale_and_add(self.isa, products, scale, bias),
            None => scale_by(self.isa, products, scale),
        }
        if let Some(past) = self.scoring.past {
            let future = products.get_mut(past + query + 1..);
            future.unwrap_or_default().fill(MASKED);
        }
    }

    /// From products to weights: the softmax of the scores.
    fn weights(&self, query: usize, products: &mut [f32]) {
        self.score(query, products);
        softmax(self.isa, products);
    }

    /// How many keys queries before `end` may see, in whole panels. What is behind has no weight at all beside
    /// what is seen; a query whose keys a bias hides may see none, and then all of them evenly.
    fn seen(&self, end: usize) -> usize {
        match (self.scoring.past, self.scoring.bias) {
            (Some(past), None) => (past + end).next_multiple_of(PANEL).min(self.keys),
            _ => self.keys,
        }
    }

    /// A query at a time, as a decoder has it: each key and value is read once, where it lies in the
    /// cache, and packing would read and write it once more.
    fn few(&self, scratch: &mut Scratch, y: &mut [f32]) {
        let results = y.chunks_exact_mut(self.width.max(1));
        for ((query, q), y) in self.queries().enumerate().zip(results) {
            scratch.scores.clear();
            let products = self.keys().map(|key| dot(self.isa, q, key));
            scratch.scores.extend(products);
            self.weights(query, &mut scratch.scores);
            for (&weight, value) in scratch.scores.iter().zip(self.values()) {
                add_scaled(self.isa, y, weight, value);
            }
        }
    }

    /// A tile of queries at a time, with keys and values in panels.
    ///
    /// Both products run through the tiles of linear layers, for which keys and values are packed
    /// once as if they were weights. The scores of one tile of queries, 12 rows, are all that is ever
    /// there of the attention map: they stay in the cache between the two products, which is what
    /// makes this faster than two products over the whole map.
    fn many(&self, scratch: &mut Scratch, y: &mut [f32]) {
        let (queries, width) = (self.q.dims[2], self.width);
        let (depth_steps, key_steps) = self.steps();
        self.pack(scratch);
        let mut sums = NO_SUMS;
        for first in (0..queries).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(queries - first);
            let keys = self.seen(first + rows);
            let (padded, seen_steps) = (
                keys.next_multiple_of(PANEL),
                keys.div_ceil(self.kind.step()),
            );
            scratch.words.resize(rows * depth_steps.max(seen_steps), 0);
            for row in 0..rows {
                let q = self.q.row(self.batch, self.head, first + row);
                self.interleave(q, row, rows, &mut scratch.words);
            }
            scratch.scores.resize(rows * padded, 0.0);
            let panels = scratch.keys.chunks_exact((4 * PANEL * depth_steps).max(1));
            for (panel, keys) in panels.take(padded / PANEL).enumerate() {
                tile::tile(self.isa, self.kind, rows, &scratch.words, keys, &mut sums);
                let sums = sums.as_chunks::<PANEL>().0;
                for (scores, sums) in scratch.scores.chunks_exact_mut(padded).zip(sums) {
                    scores[panel * PANEL..][..PANEL].copy_from_slice(sums);
                }
            }
            for (row, scores) in scratch.scores.chunks_exact_mut(padded.max(1)).enumerate() {
                // Keys that only fill the last panel up must get no weight.
                let scores = &mut scores[..keys];
                self.weights(first + row, scores);
                self.interleave(scores, row, rows, &mut scratch.words);
            }
            let panels = scratch.values.chunks_exact((4 * PANEL * key_steps).max(1));
            for (panel, values) in panels.enumerate() {
                let values = &values[..4 * PANEL * seen_steps];
                tile::tile(self.isa, self.kind, rows, &scratch.words, values, &mut sums);
                let columns = PANEL.min(width - panel * PANEL);
                for (row, sums) in sums.as_chunks::<PANEL>().0[..rows].iter().enumerate() {
                    let start = (first + row) * width + panel * PANEL;
                    y[start..start + columns].copy_from_slice(&sums[..columns]);
                }
            }
        }
    }

    /// The steps of a product over the width of keys, and over keys.
    fn steps(&self) -> (usize, usize) {
        let step = self.kind.step();
        (self.q.dims[3].div_ceil(step), self.keys.div_ceil(step))
    }

    fn interleave(&self, x: &[f32], row: usize, rows: usize, words: &mut [u32]) {
        if self.kind == TileKind::Bf16Dot {
            interleave_pairs(self.isa, x, row, rows, words);
        } else {
            interleave(self.isa, x, row, rows, words);
        }
    }

    /// Keys as the matrix that makes scores of queries, values as the one that makes results of
    /// weights.
    fn pack(&self, scratch: &mut Scratch) {
        let (width, keys) = (self.width, self.keys);
        let (depth_steps, key_steps) = self.steps();
        let pairs = self.kind == TileKind::Bf16Dot;
        scratch.keys.clear();
        scratch
            .keys
            .resize(keys.div_ceil(PANEL) * 4 * PANEL * depth_steps, 0);
        for (index, key) in self.keys().enumerate() {
            let panel = &mut scratch.keys[index / PANEL * 4 * PANEL * depth_steps..];
            let column = &mut panel[index % PANEL * 4..];
            if pairs {
                spread_pairs(self.isa, key, column);
            } else {
                spread(self.isa, key, column);
            }
        }
        scratch.values.clear();
        scratch
            .values
            .resize(width.div_ceil(PANEL) * 4 * PANEL * key_steps, 0);
        for (index, value) in self.values().enumerate() {
            let (step, half) = if pairs {
                (index / 2, index % 2)
            } else {
                (index, 0)
            };
            for (panel, value) in value.chunks(PANEL).enumerate() {
                let start = (panel * key_steps + step) * 4 * PANEL;
                let place = &mut scratch.values[start..];
                if pairs {
                    copy_half(self.isa, value, half, place);
                } else {
                    copy(self.isa, value, place);
                }
            }
        }
    }
}

vectorized! {
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0f32; LANES];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
        lanes.iter().sum::<f32>() + rest
    }
}

vectorized! {
    fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += factor * x;
        }
    }
}

vectorized! {
    fn scale_by(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

vectorized! {
    fn scale_and_add(x: &mut [f32], factor: f32, bias: &[f32]) {
        for (x, bias) in x.iter_mut().zip(bias) {
            *x = *x * factor + bias;
        }
    }
}

vectorized! {
    /// Writes a column of a panel.
    fn spread(x: &[f32], panel: &mut [u8]) {
        for (place, x) in panel.chunks_mut(4 * PANEL).zip(x) {
            place[..4].copy_from_slice(&x.to_le_bytes());
        }
    }
}

vectorized! {
    /// Writes a column of a panel of pairs.
    fn spread_pairs(x: &[f32], panel: &mut [u8]) {
        for (place, pair) in panel.chunks_mut(4 * PANEL).zip(x.chunks(2)) {
            let high = if pair.len() == 2 { math::bf16_bits(pair[1]) } else { 0 };
            let word = math::bf16_bits(pair[0]) | (high << 16);
            place[..4].copy_from_slice(&word.to_le_bytes());
        }
    }
}

vectorized! {
    /// Writes the first or the second of each pair.
    fn copy_half(x: &[f32], half: usize, bytes: &mut [u8]) {
        for (place, x) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(x) {
            let bits = (math::bf16_bits(*x) as u16).to_le_bytes();
            place[2 * half] = bits[0];
            place[2 * half + 1] = bits[1];
        }
    }
}

vectorized! {
    fn copy(x: &[f32], bytes: &mut [u8]) {
        for (place, x) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(x) {
            *place = x.to_le_bytes();
        }
    }
}

vectorized! {
    /// The softmax in place. The largest score is taken off first, so that no exponential overflows;
    /// lanes have maxima and sums of their own, since the compiler may not reorder a sum.
    fn softmax(x: &mut [f32]) {
        let mut largest = [f32::NEG_INFINITY; LANES];
        let (lanes, rest) = x.as_chunks::<LANES>();
        for x in lanes {
            for lane in 0..LANES {
                largest[lane] = if x[lane] > largest[lane] { x[lane] } else { largest[lane] };
            }
        }
        let largest = largest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let mut sums = [0f32; LANES];
        let (lanes, rest) = x.as_chunks_mut::<LANES>();
        for x in lanes {
            for lane in 0..LANES {
                x[lane] = math::exp(x[lane] - largest);
                sums[lane] += x[lane];
            }
        }
        let mut sum: f32 = sums.iter().sum();
        for x in rest {
            *x = math::exp(*x - largest);
            sum += *x;
        }
        let inverse = sum.recip();
        for x in x {
            *x *= inverse;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_values;

    fn view(data: &[f32], dims: [usize; 4]) -> View<'_> {
        let [_, heads, seq, width] = dims;
        View {
            data,
            dims,
            strides: [heads * seq * width, seq * width, width],
        }
    }

    /// Every instruction set and both ways against attention in 64 bits, over shapes with tails of
    /// every kind.
    #[test]
    fn every_way_agrees_with_64_bits() {
        for (queries, keys, depth, width) in [
            (1, 40, 80, 80),
            (3, 257, 9, 33),
            (4, 33, 88, 31),
            (13, 257, 88, 88),
            (25, 70, 33, 65),
        ] {
            let (batch, heads) = (2, 3);
            let q = random_values(batch * heads * queries * depth, 1);
            let k = random_values(batch * heads * keys * depth, 2);
            let v = random_values(batch * heads * keys * width, 3);
            let bias = random_values(batch * keys, 4);
            let q = view(&q, [batch, heads, queries, depth]);
            let k = view(&k, [batch, heads, keys, depth]);
            let v = view(&v, [batch, heads, keys, width]);
            let bias = view(&bias, [batch, 1, 1, keys]);
            let bias = bias.broadcast([batch, heads, queries, keys]);
            let scoring = Scoring {
                scale: 0.3,
                bias: Some(bias),
                past: None,
            };
            for isa in Isa::available() {
                for (rounded, tolerance) in [(false, 1e-6), (true, 6e-3)] {
                    let y = attend(isa, rounded, q, [&k, &v], scoring);
                    for index in 0..batch * heads {
                        let (b, h) = (index / heads, index % heads);
                        let expected = exact::attend(&Head {
                            isa,
                            kind: TileKind::F32,
                            q,
                            k: &k,
                            v: &v,
                            scoring,
                            batch: b,
                            head: h,
                            group: h,
                            keys,
                            width,
                        });
                        for (n, expected) in expected.iter().enumerate() {
                            let at = ((b * queries + n / width) * heads + h) * width + n % width;
                            let difference = (y[at] - expected).abs();
                            assert!(difference < tolerance, "{isa} {rounded}: {difference}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_masked_key_has_no_weight_at_all() {
        let (q, k) = (random_values(5 * 64, 1), random_values(40 * 64, 2));
        let mut v = vec![1.0; 40 * 64];
        v[..64].fill(1e30);
        let mut bias = vec![0.0; 40];
        bias[0] = MASKED;
        for isa in Isa::available() {
            for queries in [1, 5] {
                let q = view(&q, [1, 1, queries, 64]);
                let bias = view(&bias, [1, 1, 1, 40]).broadcast([1, 1, queries, 40]);
                let (k, v) = (view(&k, [1, 1, 40, 64]), view(&v, [1, 1, 40, 64]));
                let scoring = Scoring {
                    scale: 0.1,
                    bias: Some(bias),
                    past: None,
                };
                let y = attend(isa, false, q, [&k, &v], scoring);
                assert!(y.iter().all(|y| (y - 1.0).abs() < 1e-5), "{isa}");
            }
        }
    }

    /// What is seen of the past is what a bias that hides the future leaves, to the bit; with padding, which
    /// may leave a query nothing, too.
    #[test]
    fn the_future_is_hidden_as_by_a_bias() {
        for (queries, keys, depth, width) in [
            (4, 33, 88, 31),
            (3, 40, 80, 80),
            (13, 13, 80, 80),
            (70, 257, 33, 65),
            (100, 100, 64, 64),
            (5, 9, 8, 8),
        ] {
            let (heads, past) = (2, keys - queries);
            let q = random_values(heads * queries * depth, 1);
            let k = random_values(heads * keys * depth, 2);
            let v = random_values(heads * keys * width, 3);
            let q = view(&q, [1, heads, queries, depth]);
            let k = view(&k, [1, heads, keys, depth]);
            let v = view(&v, [1, heads, keys, width]);
            for padding in [0, 2] {
                let hides = |key: usize| if key < padding { MASKED } else { 0.0 };
                let hidden: Vec<f32> = (0..keys).map(hides).collect();
                let whole = (0..queries).flat_map(|query| {
                    (0..keys).map(move |key| {
                        if key > past + query {
                            MASKED
                        } else {
                            hides(key)
                        }
                    })
                });
                let whole: Vec<f32> = whole.collect();
                let dims = [1, heads, queries, keys];
                let whole = view(&whole, [1, 1, queries, keys]).broadcast(dims);
                let hidden = view(&hidden, [1, 1, 1, keys]).broadcast(dims);
                for isa in Isa::available() {
                    for rounded in [false, true] {
                        let by = |bias, past| {
                            let scale = 0.3;
                            let scoring = Scoring { scale, bias, past };
                            attend(isa, rounded, q, [&k, &v], scoring)
                        };
                        let expected = by(Some(whole), None);
                        let bias = (padding > 0).then_some(hidden);
                        let found = by(bias, Some(past));
                        assert_eq!(found, expected, "{isa} {rounded} {queries} {keys}");
                    }
                }
            }
        }
    }
}
