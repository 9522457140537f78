//! Attention of one query to keys and values of which the newest is not in the cache yet: a launch reads
//! it from where it was computed and writes it to its place.
//!
//! The same numbers in the same order as `attention` of one query.

#![allow(unsafe_code)] // launches of kernels

use burn_cubecl::cubecl::{self, prelude::*};

use super::{
    places::{BiasPlace, Extent, LOWEST, Place, VECTOR},
    rows::row_of,
    sum::{fold, fold_max},
    tensors::UNITS,
};

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(super) fn attend_newest<N: Size>(
    q: &[Vector<f32, N>],
    new_k: &[Vector<f32, N>],
    new_v: &[Vector<f32, N>],
    bias: &[f32],
    count: &[u32],
    rows: &[u32],
    k: &mut [Vector<f32, N>],
    v: &mut [Vector<f32, N>],
    y: &mut [Vector<f32, N>],
    q_at: Place,
    new_k_at: Place,
    new_v_at: Place,
    k_at: Place,
    v_at: Place,
    bias_at: BiasPlace,
    extent: Extent,
    scale: f32,
    #[comptime] vectors: usize,
    #[comptime] has_bias: bool,
    #[comptime] counted: bool,
    #[comptime] has_rows: bool,
) {
    let units = comptime!(UNITS as usize);
    let unit = UNIT_POS as usize;
    if CUBE_POS >= extent.cubes {
        terminate!();
    }
    let head = CUBE_POS % extent.heads;
    let batch = CUBE_POS / extent.heads;
    let group = head / extent.group;
    let k_start = k_at.start + group * k_at.head;
    let v_start = v_at.start + group * v_at.head;
    let new_k_start = new_k_at.start + batch * new_k_at.batch + group * new_k_at.head;
    let new_v_start = new_v_at.start + batch * new_v_at.batch + group * new_v_at.head;
    let mut keys = extent.keys;
    if counted {
        keys = usize::cast_from(count[0]);
    }
    let newest = keys - 1;
    // Of the heads that share keys and values the first writes them, and none reads them there.
    let writes = head % extent.group == 0;

    let mut query = Shared::<[Vector<f32, N>]>::new_slice(vectors);
    if unit < vectors {
        query[unit] = q[q_at.start + batch * q_at.batch + head * q_at.head + unit];
    }
    let mut scores = Shared::<[f32]>::new_slice(units);
    let mut folded = Shared::<[f32]>::new_slice(units);
    let mut largest = LOWEST.runtime();
    let mut sum = 0.0f32;
    let mut output = Vector::<f32, N>::new(0.0);
    // For the values, each group of units takes keys a fixed step apart, and each of its units a vector.
    let groups = comptime!(units / vectors);
    let (slice, lane) = (unit / vectors, unit % vectors);
    let mut chunk = 0usize;
    while chunk < keys {
        sync_cube();
        let key = chunk + unit;
        let there = key < keys;
        let mut score = 0.0f32;
        if there {
            let row = row_of(rows, batch, key, extent.row, has_rows);
            let start = k_start + row * k_at.batch + key * k_at.index;
            #[unroll]
            for part in 0..vectors {
                let mut here = k[start + part];
                if key == newest {
                    here = new_k[new_k_start + part];
                    if writes {
                        k[start + part] = here;
                    }
                }
                let products = here * query[part];
                #[unroll]
                for e in 0..comptime!(VECTOR) {
                    score += products.extract(e);
                }
            }
        }
        score *= scale;
        if has_bias {
            if there {
                score += bias[batch * bias_at.batch + head * bias_at.head + key];
            }
        }
        let score = select(there, score, LOWEST);
        folded[unit] = score;
        fold_max(&mut folded, 1usize.runtime(), units, units);
        let now = max(largest, folded[0]);
        let shrink = (largest - now).exp();
        largest = now;
        sync_cube();
        let weight = select(there, (score - largest).exp(), 0.0);
        scores[unit] = weight;
        folded[unit] = weight;
        fold(&mut folded, 1usize.runtime(), units, units);
        sum = sum * shrink + folded[0];
        output *= Vector::new(shrink);
        if slice < groups {
            let end = min(keys - chunk, units);
            let mut place = slice;
            while place < end {
                let row = row_of(rows, batch, chunk + place, extent.row, has_rows);
                let at = v_start + row * v_at.batch + (chunk + place) * v_at.index + lane;
                let mut here = v[at];
                if chunk + place == newest {
                    here = new_v[new_v_start + lane];
                    if writes {
                        v[at] = here;
                    }
                }
                output += here * Vector::new(scores[place]);
                place += groups;
            }
        }
        chunk += units;
    }

    let mut parts = Shared::<[Vector<f32, N>]>::new_slice(comptime!(groups * vectors));
    if slice < groups {
        parts[slice * vectors + lane] = output;
    }
    sync_cube();
    if unit < vectors {
        let mut total = Vector::<f32, N>::new(0.0);
        for slice in 0..groups {
            total += parts[slice * vectors + unit];
        }
        y[(batch * extent.heads + head) * vectors + unit] = total / Vector::new(sum);
    }
}
