//! What is behind a product's sums, and the sums of cubes that shared a block.

#![allow(unsafe_code)] // launches of kernels

use burn_cubecl::{cubecl, cubecl::prelude::*};

use super::{
    super::{
        panels::PANEL,
        part::{Part, finished, one_of, part},
    },
    Plan,
    weights::is_brain,
};
use crate::matrix::packed::PackedFormat;

/// What follows a sum: the scales of its row and of its weights, and what else is wanted.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn behind(
    sum: f32,
    words: &Sequence<Box<[u32]>>,
    factors: &Sequence<f32>,
    scales: &[f32],
    biases: &Sequence<Box<[f32]>>,
    residual: &[f32],
    row: usize,
    output: usize,
    own: &Part,
    vectors: usize,
    panel_words: usize,
    #[comptime] plan: Plan,
) -> f32 {
    let mut sum = sum * scales[row];
    if comptime!(plan.format == Some(PackedFormat::Int8)) {
        let panel = output / comptime!(PANEL) * panel_words;
        let at = panel + vectors * 32 + output % comptime!(PANEL);
        sum *= f32::from_bits(one_of::<u32>(words, own.matrix, at));
    }
    if comptime!(is_brain(plan.format)) {
        #[unroll]
        for matrix in 0..comptime!(plan.matrices) {
            if own.matrix == matrix {
                sum /= factors[matrix];
            }
        }
    }
    finished(
        sum,
        biases,
        residual,
        own.matrix,
        output,
        own.start + row * own.outputs + output,
        comptime!(plan.follows),
    )
}

/// Adds what the cubes of each block found, in their order.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(super) fn join(
    parts: &[f32],
    words: Sequence<Box<[u32]>>,
    factors: Sequence<f32>,
    scales: &[f32],
    biases: Sequence<Box<[f32]>>,
    residual: &[f32],
    y: &mut [f32],
    outputs: Sequence<usize>,
    starts: Sequence<usize>,
    rows: usize,
    vectors: usize,
    panel_words: usize,
    shares: usize,
    len: usize,
    #[comptime] plan: Plan,
) {
    let place = ABSOLUTE_POS;
    let own = part(place, &starts, &outputs, &starts);
    let (row, output) = (own.place / own.outputs, own.place % own.outputs);
    // Between two results there may be numbers that are none.
    if place < len && row < rows {
        let mut sum = 0.0f32;
        for share in 0..shares {
            sum += parts[share * len + place];
        }
        y[place] = behind(
            sum,
            &words,
            &factors,
            scales,
            &biases,
            residual,
            row,
            output,
            &own,
            vectors,
            panel_words,
            plan,
        );
    }
}
