//! Attention on slices: scores, softmax and values in one go for a few queries at a time, so that
//! no map is ever written to memory.

use rayon::prelude::*;

use super::exact;
use crate::{
    isa::{
        Isa, LANES,
        tile::{self, PANEL, Sums, TILE_ROWS, TileKind},
        vectorized,
    },
    math,
};

/// A tensor of rank 4 whose last axis is contiguous; the others may lie in any order, and an axis
/// that is to be broadcast has a stride of 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) data: &'a [f32],
    pub(super) dims: [usize; 4],
    pub(super) strides: [usize; 3],
}

impl<'a> View<'a> {
    /// The view with its axes of length 1 repeated as `dims` has them, but for the last.
    pub(super) fn broadcast(mut self, dims: [usize; 4]) -> Self {
        for axis in 0..3 {
            if self.dims[axis] == 1 {
                self.strides[axis] = 0;
            }
        }
        self.dims = [dims[0], dims[1], dims[2], self.dims[3]];
        self
    }

    /// A row of the last axis.
    pub(super) fn row(&self, batch: usize, head: usize, index: usize) -> &'a [f32] {
        let [b, h, i] = self.strides;
        let start = batch * b + head * h + index * i;
        &self.data[start..start + self.dims[3]]
    }
}

/// Fewer queries than this read keys and values as they lie: interleaving them would cost as much.
const FEW: usize = 4;

/// Heads with fewer products of a key than this are computed in 64 bits, for the reason that small
/// matrices are: see [`PackedMatrix::kind`](crate::packed::PackedMatrix::kind). Those of published
/// models are larger.
const SMALL: usize = 1024;

/// `softmax(q · kᵀ · scale + bias) · v`, `[batch, queries, heads, head_dim]`: heads within a
/// position, as the projection behind attention reads them.
///
/// `bias` has the dimensions `[batch, heads, queries, keys]`, by broadcasting.
pub(super) fn attend(
    isa: Isa,
    q: View<'_>,
    k: View<'_>,
    v: View<'_>,
    scale: f32,
    bias: Option<View<'_>>,
) -> Vec<f32> {
    let [batch, heads, queries, depth] = q.dims;
    let (keys, width) = (k.dims[2], v.dims[3]);
    let head = |index: usize, scratch: &mut Scratch| {
        let head = Head {
            isa,
            q,
            k,
            v,
            scale,
            bias,
            batch: index / heads,
            head: index % heads,
        };
        if keys * width.max(depth) < SMALL {
            return exact::attend([q, k, v], scale, bias, (head.batch, head.head));
        }
        let mut y = vec![0.0; queries * width];
        if queries < FEW {
            head.few(scratch, &mut y);
        } else {
            head.many(scratch, &mut y);
        }
        y
    };
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
}

/// One head of one sequence.
struct Head<'a> {
    isa: Isa,
    q: View<'a>,
    k: View<'a>,
    v: View<'a>,
    scale: f32,
    bias: Option<View<'a>>,
    batch: usize,
    head: usize,
}

impl Head<'_> {
    fn keys(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.k.dims[2]).map(|n| self.k.row(self.batch, self.head, n))
    }

    fn values(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.k.dims[2]).map(|n| self.v.row(self.batch, self.head, n))
    }

    /// From scores to weights: scales them, adds the bias of the query, and takes the softmax.
    fn weights(&self, query: usize, scores: &mut [f32]) {
        match self.bias {
            Some(bias) => {
                let bias = bias.row(self.batch, self.head, query);
                scale_and_add(self.isa, scores, self.scale, bias);
            }
            None => scale_by(self.isa, scores, self.scale),
        }
        softmax(self.isa, scores);
    }

    /// A query at a time.
    fn few(&self, scratch: &mut Scratch, y: &mut [f32]) {
        let width = self.v.dims[3];
        for (query, y) in y.chunks_exact_mut(width.max(1)).enumerate() {
            let q = self.q.row(self.batch, self.head, query);
            scratch.scores.clear();
            let scores = self.keys().map(|key| dot(self.isa, q, key));
            scratch.scores.extend(scores);
            self.weights(query, &mut scratch.scores);
            for (&weight, value) in scratch.scores.iter().zip(self.values()) {
                add_scaled(self.isa, y, weight, value);
            }
        }
    }

    /// A tile of queries at a time, with keys and values in panels.
    fn many(&self, scratch: &mut Scratch, y: &mut [f32]) {
        let (depth, width) = (self.q.dims[3], self.v.dims[3]);
        let (queries, keys) = (self.q.dims[2], self.k.dims[2]);
        let padded = keys.next_multiple_of(PANEL);
        self.pack(scratch);
        let mut sums: Sums = [0.0; TILE_ROWS * PANEL];
        for first in (0..queries).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(queries - first);
            scratch.words.resize(rows * depth.max(keys), 0);
            for row in 0..rows {
                let q = self.q.row(self.batch, self.head, first + row);
                interleave(self.isa, q, row, rows, &mut scratch.words);
            }
            scratch.scores.resize(rows * padded, 0.0);
            let panels = scratch.keys.chunks_exact((4 * PANEL * depth).max(1));
            for (panel, keys) in panels.enumerate() {
                let (kind, words) = (TileKind::F32, &scratch.words);
                tile::tile(self.isa, kind, rows, words, keys, &mut sums);
                let sums = sums.as_chunks::<PANEL>().0;
                for (scores, sums) in scratch.scores.chunks_exact_mut(padded).zip(sums) {
                    scores[panel * PANEL..][..PANEL].copy_from_slice(sums);
                }
            }
            for (row, scores) in scratch.scores.chunks_exact_mut(padded.max(1)).enumerate() {
                let scores = &mut scores[..keys];
                self.weights(first + row, scores);
                interleave(self.isa, scores, row, rows, &mut scratch.words);
            }
            let panels = scratch.values.chunks_exact((4 * PANEL * keys).max(1));
            for (panel, values) in panels.enumerate() {
                let (kind, words) = (TileKind::F32, &scratch.words);
                tile::tile(self.isa, kind, rows, words, values, &mut sums);
                let columns = PANEL.min(width - panel * PANEL);
                for (row, sums) in sums.as_chunks::<PANEL>().0[..rows].iter().enumerate() {
                    let start = (first + row) * width + panel * PANEL;
                    y[start..start + columns].copy_from_slice(&sums[..columns]);
                }
            }
        }
    }

    /// Keys as the matrix that makes scores of queries, values as the one that makes results of
    /// weights.
    fn pack(&self, scratch: &mut Scratch) {
        let (depth, width, keys) = (self.q.dims[3], self.v.dims[3], self.k.dims[2]);
        scratch.keys.clear();
        scratch
            .keys
            .resize(keys.div_ceil(PANEL) * 4 * PANEL * depth, 0);
        for (index, key) in self.keys().enumerate() {
            let panel = &mut scratch.keys[index / PANEL * 4 * PANEL * depth..];
            spread(self.isa, key, &mut panel[index % PANEL * 4..]);
        }
        scratch.values.clear();
        scratch
            .values
            .resize(width.div_ceil(PANEL) * 4 * PANEL * keys, 0);
        for (index, value) in self.values().enumerate() {
            for (panel, value) in value.chunks(PANEL).enumerate() {
                let start = (panel * keys + index) * 4 * PANEL;
                copy(self.isa, value, &mut scratch.values[start..]);
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
    fn interleave(x: &[f32], row: usize, rows: usize, words: &mut [u32]) {
        for (words, x) in words.chunks_exact_mut(rows).zip(x) {
            words[row] = x.to_bits();
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
    fn copy(x: &[f32], bytes: &mut [u8]) {
        for (place, x) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(x) {
            *place = x.to_le_bytes();
        }
    }
}

vectorized! {
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
