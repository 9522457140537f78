//! The largest logits of each row with their ids, so that beams and sampling read back some hundred
//! bytes a row in place of all logits.
//!
//! A cube finds a bar that the `k` largest reach, from the largest that each of its units sees: `k` units
//! see one as large as the `k`-th of those. Hardly more than `k` logits reach it, and those are sorted by
//! counting, for each, how many are above it. Logits are compared as in [`select`](super::select).

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl::{self, prelude::*};

use super::{
    count,
    select::{INFINITE, LEAST, MOST_IDS, key, number},
    sum::fold,
    tensors::{self, UNITS, buffer, bytes, elements, empty, lift, lower},
};
use crate::kernel::{
    likeliest::{NOT_A_NUMBER, NOTHING, TOO_MUCH},
    top::{CROWDED, HEAD, MOST_TOP},
};

/// How many logits of a row may reach the bar. Of 128 of a random row's some 180 do.
const ROOM: usize = 1024;

/// Whether a logit comes before another: the larger does, of equals the one with the lower id.
#[cube]
fn is_before(key: u32, id: u32, other_key: u32, other_id: u32) -> bool {
    key > other_key || (key == other_key && id < other_id)
}

/// How many of the first `len` logits come before one.
#[cube]
fn rank(keys: &Shared<[u32]>, ids: &Shared<[u32]>, len: usize, key: u32, id: u32) -> usize {
    let mut rank = 0usize.runtime();
    let mut other = 0usize.runtime();
    while other < len {
        if is_before(keys[other], ids[other], key, id) {
            rank += 1;
        }
        other += 1;
    }
    rank
}

/// The largest logit that each unit sees of a row.
#[cube]
fn largest_of_units(
    x: &[f32],
    keys: &mut Shared<[u32]>,
    ids: &mut Shared<[u32]>,
    start: usize,
    width: usize,
    #[comptime] units: usize,
) {
    let unit = UNIT_POS as usize;
    // No logit has the key 0: a unit that sees none comes last, told from others by its id.
    let mut best = 0u32;
    let mut id = u32::cast_from(unit);
    let mut at = unit;
    while at < width {
        let here = key(x[start + at].to_bits());
        if here > best {
            best = here;
            id = u32::cast_from(at);
        }
        at += units;
    }
    keys[unit] = best;
    ids[unit] = id;
    sync_cube();
}

/// In place of a row's count of logits, why it has none; else the count.
#[cube]
fn verdict(largest: u32, reached: usize, k: usize) -> f32 {
    let found = f32::cast_from(min(reached, k));
    let crowded = reached > comptime!(ROOM);
    let found = select(crowded, comptime!(CROWDED), found);
    let found = select(largest > comptime!(LEAST), found, comptime!(NOTHING));
    let found = select(largest < comptime!(INFINITE), found, comptime!(TOO_MUCH));
    let is_number = largest <= comptime!(INFINITE);
    select(is_number, found, comptime!(NOT_A_NUMBER))
}

/// A cube for each row: how many logits were found, what makes probabilities of them, and each of them
/// behind its id, the largest first.
#[cube(launch_unchecked)]
fn top_logits(x: &[f32], y: &mut [f32], width: usize, rows: usize, k: usize) {
    let units = comptime!(UNITS as usize);
    let unit = UNIT_POS as usize;
    if CUBE_POS >= rows {
        terminate!();
    }
    let start = CUBE_POS * width;
    let place = CUBE_POS * (comptime!(HEAD) + 2 * k);
    let mut keys = Shared::<[u32]>::new_slice(comptime!(ROOM));
    let mut ids = Shared::<[u32]>::new_slice(comptime!(ROOM));
    largest_of_units(x, &mut keys, &mut ids, start, width, units);

    let mut largest = 0u32;
    let mut other = 0usize.runtime();
    while other < units {
        largest = max(largest, keys[other]);
        other += 1;
    }
    let mut bar = Shared::<[u32]>::new_slice(2usize);
    let (own, own_id) = (keys[unit], ids[unit]);
    if rank(&keys, &ids, units, own, own_id) + 1 == k {
        bar[0] = own;
        bar[1] = own_id;
    }
    sync_cube();
    let (bar, bar_id) = (bar[0], bar[1]);

    // How many logits each unit has that reach the bar.
    let top = number(largest);
    let mut sum = 0.0f32;
    let mut reached = 0usize.runtime();
    let mut at = unit;
    while at < width {
        let logit = x[start + at];
        let here = key(logit.to_bits());
        let there = here > comptime!(LEAST);
        sum += select(there, (logit - top).exp(), 0.0);
        if there && !is_before(bar, bar_id, here, u32::cast_from(at)) {
            reached += 1;
        }
        at += units;
    }
    let mut sums = Shared::<[f32]>::new_slice(units);
    let mut counts = Shared::<[u32]>::new_slice(units);
    sums[unit] = sum;
    counts[unit] = u32::cast_from(reached);
    fold(&mut sums, 1usize.runtime(), units, units);

    // Each unit writes its own behind those of the units before it.
    let mut behind = 0usize.runtime();
    let mut reached = 0usize.runtime();
    let mut other = 0usize.runtime();
    while other < units {
        if other < unit {
            behind += counts[other] as usize;
        }
        reached += counts[other] as usize;
        other += 1;
    }
    let stored = select(reached <= comptime!(ROOM), reached, 0usize);
    let mut at = unit;
    while at < width && stored > 0 {
        let here = key(x[start + at].to_bits());
        let id = u32::cast_from(at);
        if here > comptime!(LEAST) && !is_before(bar, bar_id, here, id) {
            keys[behind] = here;
            ids[behind] = id;
            behind += 1;
        }
        at += units;
    }
    sync_cube();

    let mut one = unit;
    while one < stored {
        let id = ids[one];
        let rank = rank(&keys, &ids, stored, keys[one], id);
        if rank < k {
            let place = place + comptime!(HEAD) + 2 * rank;
            y[place] = f32::cast_from(id);
            y[place + 1] = x[start + id as usize];
        }
        one += units;
    }
    if unit == 0 {
        y[place] = verdict(largest, reached, k);
        y[place + 1] = top;
        y[place + 2] = sums[0];
    }
}

/// As [`crate::seam::top_logits`].
pub(crate) fn find<const D: usize>(logits: &Tensor<D>, k: usize) -> Option<Tensor<2>> {
    let width = logits.dims()[D - 1];
    let x = lower(logits)?;
    if elements(&x) == 0 || width > MOST_IDS || k == 0 || k > MOST_TOP {
        return None;
    }
    let rows = elements(&x) / width;
    let y = empty(&x, [rows, HEAD + 2 * k], DType::F32);
    count::moves(bytes(&x) + bytes(&y));
    // SAFETY: a cube reads a row of `x`, whose tokens are below its width, and writes its own row of `y`,
    // at ranks below `k`; in shared memory it writes no more than `ROOM` logits, which it has counted.
    unsafe {
        top_logits::launch_unchecked(
            &x.client,
            tensors::cubes(rows),
            CubeDim::new_1d(UNITS),
            buffer(&x, elements(&x)),
            buffer(&y, elements(&y)),
            width,
            rows,
            k,
        );
    }
    Some(lift(y))
}
