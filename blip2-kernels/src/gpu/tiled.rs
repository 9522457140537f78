//! Attention of many queries, without a map: a cube takes some queries of a head through all keys, a chunk
//! of them at a time.
//!
//! As `attention` of few queries, which reads each key anew for a few of them: here sixteen share it, and a
//! unit multiplies four keys by two queries with what it has read.

#![allow(unsafe_code)] // launches of kernels

use burn_cubecl::cubecl::{self, prelude::*};

use super::{
    places::{BiasPlace, Extent, LOWEST, Place, VECTOR},
    tensors::UNITS,
};

/// Queries of a cube.
pub(super) const QUERIES: usize = 16;

/// Keys of a chunk.
const KEYS: usize = 128;

/// Units that share a query's softmax, and the keys of each.
const PARTS: usize = UNITS as usize / QUERIES;
const SHARE: usize = KEYS / PARTS;

/// Queries that a unit multiplies, two neighbours, and keys: every 32nd, as 32 units share the queries.
const UNIT_QUERIES: usize = 2;
const LANES: usize = UNITS as usize / (QUERIES / UNIT_QUERIES);
const UNIT_KEYS: usize = KEYS / LANES;

/// Vectors of a key that are in shared memory at a time, and those between neighbouring keys there.
const DEPTH: usize = 4;
const STRIDE: usize = DEPTH + 1;

/// The most vectors of a head: more would not fit into the shared memory that every device has.
pub(super) const MOST_VECTORS: usize = 40;

/// The largest of what a query's units have, for all of them.
#[cube]
fn largest_of_query(shared: &mut Shared<[f32]>, mine: f32) -> f32 {
    let unit = UNIT_POS as usize;
    sync_cube();
    shared[unit] = mine;
    let mut half = comptime!(PARTS / 2).runtime();
    while half > 0 {
        sync_cube();
        if unit < half * comptime!(QUERIES) {
            shared[unit] = max(shared[unit], shared[unit + half * comptime!(QUERIES)]);
        }
        half /= 2;
    }
    sync_cube();
    shared[unit % comptime!(QUERIES)]
}

/// The sum of what a query's units have, for all of them.
#[cube]
fn sum_of_query(shared: &mut Shared<[f32]>, mine: f32) -> f32 {
    let unit = UNIT_POS as usize;
    sync_cube();
    shared[unit] = mine;
    let mut half = comptime!(PARTS / 2).runtime();
    while half > 0 {
        sync_cube();
        if unit < half * comptime!(QUERIES) {
            shared[unit] += shared[unit + half * comptime!(QUERIES)];
        }
        half /= 2;
    }
    sync_cube();
    shared[unit % comptime!(QUERIES)]
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(super) fn attend<N: Size>(
    q: &[Vector<f32, N>],
    k: &[Vector<f32, N>],
    v: &[Vector<f32, N>],
    bias: &[f32],
    y: &mut [Vector<f32, N>],
    q_at: Place,
    k_at: Place,
    v_at: Place,
    bias_at: BiasPlace,
    extent: Extent,
    scale: f32,
    #[comptime] vectors: usize,
    #[comptime] has_bias: bool,
) {
    let units = comptime!(UNITS as usize);
    let unit = UNIT_POS as usize;
    if CUBE_POS >= extent.cubes {
        terminate!();
    }
    let tiles = extent.queries.div_ceil(comptime!(QUERIES));
    let first = CUBE_POS % tiles * comptime!(QUERIES);
    let head = CUBE_POS / tiles % extent.heads;
    let batch = CUBE_POS / tiles / extent.heads;
    let k_start = k_at.start + batch * k_at.batch + head / extent.group * k_at.head;
    let v_start = v_at.start + batch * v_at.batch + head / extent.group * v_at.head;

    // Queries that are not there are the last one, and written nowhere.
    let mut queries = Shared::<[Vector<f32, N>]>::new_slice(comptime!(QUERIES * vectors));
    let mut at = unit;
    while at < comptime!(QUERIES * vectors) {
        let query = min(first + at / vectors, extent.queries - 1);
        let start = q_at.start + batch * q_at.batch + head * q_at.head + query * q_at.index;
        queries[at] = q[start + at % vectors];
        at += units;
    }
    // A part of a chunk's keys; in the end, of the outputs.
    let mut lines = Shared::<[Vector<f32, N>]>::new_slice(comptime!(KEYS * STRIDE));
    // By key and query.
    let mut scores = Shared::<[f32]>::new_slice(comptime!(KEYS * QUERIES));
    let mut folded = Shared::<[f32]>::new_slice(units);

    // The softmax's state of the unit's query.
    let own_query = unit % comptime!(QUERIES);
    let own_part = unit / comptime!(QUERIES);
    let mut largest = LOWEST.runtime();
    let mut total = 0.0f32;
    // How much smaller every query's outputs become, for whoever holds them.
    let mut shrinks = Shared::<[f32]>::new_slice(comptime!(QUERIES));
    // For the values, each slice of units takes keys a fixed step apart, and each of its units a vector.
    let slices = comptime!(units / vectors);
    let (slice, lane) = (unit / vectors, unit % vectors);
    let mut outputs = Array::<Vector<f32, N>>::new(comptime!(QUERIES));
    #[unroll]
    for i in 0..comptime!(QUERIES) {
        outputs[i] = Vector::new(0.0);
    }

    let key_lane = unit % comptime!(LANES);
    let pair = unit / comptime!(LANES) * comptime!(UNIT_QUERIES);
    let mut chunk = 0usize;
    while chunk < extent.keys {
        // Of a last chunk that is not full, as of a picture's last patch, keys that are not there cost no products,
        // but for those beside the last that is.
        let end = min(extent.keys - chunk, comptime!(KEYS));
        let held = end.div_ceil(comptime!(LANES)) * comptime!(LANES);
        let mut sums = Array::<f32>::new(comptime!(UNIT_KEYS * UNIT_QUERIES));
        #[unroll]
        for n in 0..comptime!(UNIT_KEYS * UNIT_QUERIES) {
            sums[n] = 0.0;
        }
        #[unroll]
        for part in 0..comptime!(vectors.div_ceil(DEPTH)) {
            let depth = comptime!(if vectors - part * DEPTH < DEPTH {
                vectors - part * DEPTH
            } else {
                DEPTH
            });
            sync_cube();
            let mut at = unit;
            while at < held * comptime!(depth) {
                // Keys that are not there are the last one, and count for nothing.
                let key = min(chunk + at / depth, extent.keys - 1);
                let from = k_start + key * k_at.index + comptime!(part * DEPTH) + at % depth;
                lines[at / depth * comptime!(STRIDE) + at % depth] = k[from];
                at += units;
            }
            sync_cube();
            #[unroll]
            for d in 0..depth {
                let mut of_query = Array::<Vector<f32, N>>::new(comptime!(UNIT_QUERIES));
                #[unroll]
                for i in 0..comptime!(UNIT_QUERIES) {
                    of_query[i] = queries[(pair + i) * vectors + comptime!(part * DEPTH + d)];
                }
                #[unroll]
                for j in 0..comptime!(UNIT_KEYS) {
                    if comptime!(j * LANES) < held {
                        let key = key_lane + comptime!(j * LANES);
                        let of_key = lines[key * comptime!(STRIDE) + d];
                        #[unroll]
                        for i in 0..comptime!(UNIT_QUERIES) {
                            let products = of_key * of_query[i];
                            #[unroll]
                            for e in 0..comptime!(VECTOR) {
                                sums[comptime!(j * UNIT_QUERIES + i)] += products.extract(e);
                            }
                        }
                    }
                }
            }
        }
        #[unroll]
        for j in 0..comptime!(UNIT_KEYS) {
            #[unroll]
            for i in 0..comptime!(UNIT_QUERIES) {
                let place = key_lane + comptime!(j * LANES);
                let key = chunk + place;
                let there = key < extent.keys;
                let mut score = sums[comptime!(j * UNIT_QUERIES + i)] * scale;
                if has_bias {
                    if there {
                        let query = min(first + pair + i, extent.queries - 1);
                        let row =
                            batch * bias_at.batch + head * bias_at.head + query * bias_at.query;
                        score += bias[row + key];
                    }
                }
                scores[place * comptime!(QUERIES) + pair + i] = select(there, score, LOWEST);
            }
        }
        sync_cube();

        // Neighbouring units have neighbouring queries of the same keys.
        let mut mine = LOWEST.runtime();
        #[unroll]
        for n in 0..comptime!(SHARE) {
            let place = own_part + comptime!(n * PARTS);
            mine = max(mine, scores[place * comptime!(QUERIES) + own_query]);
        }
        let now = max(largest, largest_of_query(&mut folded, mine));
        let shrink = (largest - now).exp();
        largest = now;
        let mut sum = 0.0f32;
        #[unroll]
        for n in 0..comptime!(SHARE) {
            let place = own_part + comptime!(n * PARTS);
            let there = chunk + place < extent.keys;
            let at = place * comptime!(QUERIES) + own_query;
            let weight = select(there, (scores[at] - largest).exp(), 0.0);
            scores[at] = weight;
            sum += weight;
        }
        total = total * shrink + sum_of_query(&mut folded, sum);
        if unit < comptime!(QUERIES) {
            shrinks[unit] = shrink;
        }
        sync_cube();
        #[unroll]
        for i in 0..comptime!(QUERIES) {
            outputs[i] *= Vector::new(shrinks[i]);
        }
        if slice < slices {
            let mut place = slice;
            while place < end {
                let value = v[v_start + (chunk + place) * v_at.index + lane];
                #[unroll]
                for i in 0..comptime!(QUERIES) {
                    let weight = scores[place * comptime!(QUERIES) + i];
                    outputs[i] += value * Vector::new(weight);
                }
                place += slices;
            }
        }
        sync_cube();
        chunk += comptime!(KEYS);
    }

    if unit < comptime!(QUERIES) {
        shrinks[unit] = total;
    }
    // Two queries at a time.
    #[unroll]
    for round in 0..comptime!(QUERIES / 2) {
        sync_cube();
        if slice < slices {
            #[unroll]
            for i in 0..2usize {
                let at = (i * slices + slice) * vectors + lane;
                lines[at] = outputs[comptime!(2 * round + i)];
            }
        }
        sync_cube();
        if unit < comptime!(2 * vectors) {
            let i = unit / vectors;
            let mut sum = Vector::<f32, N>::new(0.0);
            for slice in 0..slices {
                sum += lines[(i * slices + slice) * vectors + unit % vectors];
            }
            let query = comptime!(2 * round) + i;
            if first + query < extent.queries {
                let row = (batch * extent.queries + first + query) * extent.heads + head;
                y[row * vectors + unit % vectors] = sum / Vector::new(shrinks[query]);
            }
        }
    }
}
