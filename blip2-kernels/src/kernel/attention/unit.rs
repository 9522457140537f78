//! Attention by a matrix unit: both products of brain floats, 32 queries at a time.

use std::ops::Range;

use super::{Head, Scratch, spread_pairs};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::kernel::isa::{Isa, unit::amx::Amx};
use crate::kernel::{
    isa::{
        tile_kind::{Aligned, PANEL},
        unit::{
            Ahead, Block, CHUNK, CHUNK_BYTES, HALF, Line, MatrixUnit, Product, UNIT_ROWS, UnitSums,
            emulated::Emulated,
        },
        vectorized,
    },
    math,
    product::input::line_pairs,
};

/// As [`Head::many`].
pub(super) fn attend(head: &Head<'_>, scratch: &mut Scratch, y: &mut [f32]) {
    let queries = head.q.dims[2];
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if head.isa == Isa::Amx {
        return by(head, &Amx::ready(queries), scratch, y);
    }
    by(head, &Emulated::ready(queries), scratch, y);
}

fn by(head: &Head<'_>, unit: &impl MatrixUnit, scratch: &mut Scratch, y: &mut [f32]) {
    let (queries, keys, width) = (head.q.dims[2], head.keys, head.width);
    let (depth_chunks, key_chunks) = (chunks(head.q.dims[3]), chunks(keys));
    pack(head, scratch);
    let mut sums = Aligned([0.0; UNIT_ROWS * PANEL]);
    for first in (0..queries).step_by(UNIT_ROWS) {
        let rows = first..queries.min(first + UNIT_ROWS);
        let padded = match queries {
            few @ ..HALF => few,
            _ => rows.len().next_multiple_of(HALF),
        };
        for (lines, chunks) in scratch.lines.iter_mut().zip([depth_chunks, key_chunks]) {
            lines.resize(padded * chunks, Aligned([0; 64]));
        }
        let [lines, weights] = &mut scratch.lines;
        for (row, query) in rows.clone().enumerate() {
            let q = head.q.row(head.batch, head.head, query);
            line_pairs(head.isa, q, &mut lines[row..], padded);
        }
        let stride = keys.next_multiple_of(PANEL);
        scratch.scores.resize(rows.len() * stride, 0.0);
        let panels = scratch
            .keys
            .chunks_exact((CHUNK_BYTES * depth_chunks).max(1));
        for (panel, keys) in panels.enumerate() {
            multiply(unit, lines, keys, padded, &mut sums);
            let scores = scratch.scores.chunks_exact_mut(stride);
            for (scores, sums) in scores.zip(sums.as_chunks::<PANEL>().0) {
                scores[panel * PANEL..][..PANEL].copy_from_slice(sums);
            }
        }
        for (row, scores) in scratch.scores.chunks_exact_mut(stride.max(1)).enumerate() {
            // Keys that only fill the last panel up must get no weight.
            let scores = &mut scores[..keys];
            head.weights(first + row, scores);
            line_pairs(head.isa, scores, &mut weights[row..], padded);
        }
        let panels = scratch
            .values
            .chunks_exact((CHUNK_BYTES * key_chunks).max(1));
        for (panel, values) in panels.enumerate() {
            multiply(unit, weights, values, padded, &mut sums);
            store(&sums, rows.clone(), panel, width, y);
        }
    }
}

/// The chunks of a product over `inputs`.
fn chunks(inputs: usize) -> usize {
    inputs.div_ceil(2 * CHUNK)
}

fn multiply(
    unit: &impl MatrixUnit,
    input: &[Line],
    panel: &[u8],
    rows: usize,
    sums: &mut UnitSums,
) {
    let block = Block {
        product: Product::Bf16,
        rows,
        input,
        panel,
        add: false,
        ahead: Ahead::NOTHING,
    };
    unit.multiply(&block, sums);
}

/// Puts a panel's outputs of some rows into their places.
fn store(sums: &UnitSums, rows: Range<usize>, panel: usize, width: usize, y: &mut [f32]) {
    let columns = PANEL.min(width - panel * PANEL);
    for (row, sums) in rows.zip(sums.as_chunks::<PANEL>().0) {
        let start = row * width + panel * PANEL;
        y[start..start + columns].copy_from_slice(&sums[..columns]);
    }
}

/// Keys as the matrix that makes scores of queries, values as the one that makes results of weights, in
/// whole chunks.
fn pack(head: &Head<'_>, scratch: &mut Scratch) {
    let (keys, width, isa) = (head.keys, head.width, head.isa);
    let size = CHUNK_BYTES * chunks(head.q.dims[3]);
    scratch.keys.clear();
    scratch.keys.resize(keys.div_ceil(PANEL) * size, 0);
    for (index, key) in head.keys().enumerate() {
        let panel = &mut scratch.keys[index / PANEL * size..];
        spread_pairs(isa, key, &mut panel[index % PANEL * 4..]);
    }
    let size = CHUNK_BYTES * chunks(keys);
    scratch.values.clear();
    scratch.values.resize(width.div_ceil(PANEL) * size, 0);
    let mut values = head.values();
    for step in 0.. {
        let Some(first) = values.next() else { break };
        let second = values.next();
        for (panel, first) in first.chunks(PANEL).enumerate() {
            let place = &mut scratch.values[panel * size + step * 4 * PANEL..];
            let second = second.map(|second| &second[panel * PANEL..]);
            join_pairs(isa, first, second.unwrap_or(&[]), place);
        }
    }
}

vectorized! {
    /// Writes pairs of a number of each of two rows, of which the second may be missing.
    fn join_pairs(first: &[f32], second: &[f32], bytes: &mut [u8]) {
        let places = bytes.as_chunks_mut::<4>().0.iter_mut();
        if second.is_empty() {
            for (place, &a) in places.zip(first) {
                *place = math::bf16_bits(a).to_le_bytes();
            }
            return;
        }
        for (place, (&a, &b)) in places.zip(first.iter().zip(second)) {
            *place = (math::bf16_bits(a) | math::bf16_bits(b) << 16).to_le_bytes();
        }
    }
}
