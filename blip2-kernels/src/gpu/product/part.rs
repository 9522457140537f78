//! What cubes know of the matrices that one launch multiplies: see [`together`](super::together).

use burn_cubecl::cubecl::{self, prelude::*};

use super::{Follows, activation::followed};

/// Where a cube, or a number of a result, belongs.
#[derive(CubeType)]
pub(super) struct Part {
    /// The matrix.
    pub(super) matrix: usize,
    /// The place among those of this matrix.
    pub(super) place: usize,
    pub(super) outputs: usize,
    /// Where the result of this matrix begins.
    pub(super) start: usize,
}

/// The matrix of a place, of which each has those from its first on.
#[cube]
pub(super) fn part(
    place: usize,
    firsts: &Sequence<usize>,
    outputs: &Sequence<usize>,
    starts: &Sequence<usize>,
) -> Part {
    let mut matrix = 0usize.runtime();
    let mut first = 0usize.runtime();
    let mut own = outputs[0];
    let mut start = 0usize.runtime();
    #[unroll]
    for n in 1..firsts.len() {
        if place >= firsts[n] {
            matrix = n.runtime();
            first = firsts[n];
            own = outputs[n];
            start = starts[n];
        }
    }
    Part {
        matrix,
        place: place - first,
        outputs: own,
        start,
    }
}

/// A number of one of the buffers.
#[cube]
pub(super) fn one_of<T: Numeric>(buffers: &Sequence<Box<[T]>>, which: usize, at: usize) -> T {
    let mut value = T::from_int(0);
    #[unroll]
    for n in 0..buffers.len() {
        if which == n {
            value = buffers[n][at];
        }
    }
    value
}

/// `residual + activation(sum + bias)` for one number of a matrix's result; the activation is the first
/// matrix's alone.
#[cube]
pub(super) fn finished(
    sum: f32,
    biases: &Sequence<Box<[f32]>>,
    residual: &[f32],
    matrix: usize,
    output: usize,
    place: usize,
    #[comptime] follows: Follows,
) -> f32 {
    let mut y = sum;
    if comptime!(follows.bias) {
        y += one_of::<f32>(biases, matrix, output);
    }
    if comptime!(follows.activation.is_some()) && matrix > 0 {
        y
    } else {
        followed(y, residual, place, follows)
    }
}
