//! The likeliest token of each row of logits, so that a step of decoding reads back four numbers a row
//! in place of all logits.
//!
//! Logits are compared by their bits, put in order: what a device makes of comparisons with numbers
//! that are not finite is its own affair.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl::{self, prelude::*};

use super::{
    count,
    sum::fold,
    tensors::{self, UNITS, buffer, bytes, elements, empty, lift, lower},
};
use crate::kernel::likeliest::{EACH, MOST_FORBIDDEN, NO_TOKEN, NOT_A_NUMBER, NOTHING, TOO_MUCH};

/// The most ids that `f32` tells apart.
pub(super) const MOST_IDS: usize = 1 << 24;

/// What stands for no token where fewer are forbidden than there is room for: no row is so wide.
const NONE: u32 = u32::MAX;

/// The key of +∞, above which there is NaN alone.
pub(super) const INFINITE: u32 = 0xff80_0000;

/// The key of −∞.
pub(super) const LEAST: u32 = 0x007f_ffff;

/// A number's bits in an order of integers: both zeros are equal, and NaN is above all.
#[cube]
pub(super) fn key(bits: u32) -> u32 {
    let magnitude = bits & 0x7fff_ffff;
    let above = magnitude | 0x8000_0000;
    let below = 0xffff_ffffu32 - bits;
    let key = select(bits > 0x8000_0000, below, above);
    select(magnitude > 0x7f80_0000, 0xffff_ffffu32, key)
}

/// The number that has a key.
#[cube]
pub(super) fn number(key: u32) -> f32 {
    let bits = select(key >= 0x8000_0000, key & 0x7fff_ffff, 0xffff_ffffu32 - key);
    f32::from_bits(bits)
}

/// Tokens that may not come.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
struct Forbidden {
    a: u32,
    b: u32,
    c: u32,
    d: u32,
}

/// A cube for each row: its likeliest token, the lowest of several, and what makes a probability of its
/// logit.
#[cube(launch_unchecked)]
fn likeliest(x: &[f32], y: &mut [f32], width: usize, rows: usize, forbidden: Forbidden) {
    let units = comptime!(UNITS as usize);
    let unit = UNIT_POS as usize;
    if CUBE_POS >= rows {
        terminate!();
    }
    let start = CUBE_POS * width;
    // The best that may come, and the largest of all.
    let mut best = 0u32;
    let mut id = 0u32;
    let mut largest = 0u32;
    let mut at = unit;
    while at < width {
        let here = key(x[start + at].to_bits());
        largest = max(largest, here);
        let token = u32::cast_from(at);
        let first = token != forbidden.a && token != forbidden.b;
        let allowed = first && token != forbidden.c && token != forbidden.d;
        if allowed && here > best {
            best = here;
            id = token;
        }
        at += units;
    }
    let mut bests = Shared::<[u32]>::new_slice(units);
    let mut ids = Shared::<[u32]>::new_slice(units);
    let mut all = Shared::<[u32]>::new_slice(units);
    bests[unit] = best;
    ids[unit] = id;
    all[unit] = largest;
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        sync_cube();
        if unit < half {
            let (other, other_id) = (bests[unit + half], ids[unit + half]);
            let better = other > bests[unit];
            let lower = other == bests[unit] && other_id < ids[unit];
            if better || lower {
                bests[unit] = other;
                ids[unit] = other_id;
            }
            all[unit] = max(all[unit], all[unit + half]);
        }
        half /= 2;
    }
    sync_cube();
    let (best, id, largest) = (bests[0], ids[0], all[0]);

    let top = number(largest);
    let mut sum = 0.0f32;
    let mut at = unit;
    while at < width {
        let x = x[start + at];
        let there = key(x.to_bits()) > comptime!(LEAST);
        sum += select(there, (x - top).exp(), 0.0);
        at += units;
    }
    let mut sums = Shared::<[f32]>::new_slice(units);
    sums[unit] = sum;
    fold(&mut sums, 1usize.runtime(), units, units);

    if unit == 0 {
        let found = select(
            best > comptime!(LEAST),
            f32::cast_from(id),
            comptime!(NO_TOKEN),
        );
        let found = select(largest > comptime!(LEAST), found, comptime!(NOTHING));
        let found = select(largest < comptime!(INFINITE), found, comptime!(TOO_MUCH));
        let found = select(
            largest <= comptime!(INFINITE),
            found,
            comptime!(NOT_A_NUMBER),
        );
        let place = CUBE_POS * comptime!(EACH);
        y[place] = found;
        y[place + 1] = x[start + id as usize];
        y[place + 2] = top;
        y[place + 3] = sums[0];
    }
}

/// As [`crate::seam::likeliest`].
pub(crate) fn find<const D: usize>(logits: &Tensor<D>, forbidden: &[u32]) -> Option<Tensor<2>> {
    let width = logits.dims()[D - 1];
    let x = lower(logits)?;
    if elements(&x) == 0 || width > MOST_IDS || forbidden.len() > MOST_FORBIDDEN {
        return None;
    }
    let rows = elements(&x) / width;
    let y = empty(&x, [rows, EACH], DType::F32);
    count::moves(bytes(&x) + bytes(&y));
    let token = |n: usize| forbidden.get(n).copied().unwrap_or(NONE);
    // SAFETY: a cube reads a row of `x`, whose tokens are below its width, and writes its own numbers.
    unsafe {
        likeliest::launch_unchecked(
            &x.client,
            tensors::cubes(rows),
            CubeDim::new_1d(UNITS),
            buffer(&x, elements(&x)),
            buffer(&y, elements(&y)),
            width,
            rows,
            ForbiddenLaunch::new(token(0), token(1), token(2), token(3)),
        );
    }
    Some(lift(y))
}
