//! The kernel: a cube's block of the result.

#![allow(unsafe_code)] // launches of kernels

use burn_cubecl::cubecl::{self, cmma, prelude::*};
use half::f16;

use super::{
    super::{
        VECTOR,
        part::{Part, part},
    },
    DEPTH, MatrixUnits, OUTPUTS, PLANE, PLANES, Plan, SIDE,
    finish::behind,
    weights::four,
};

/// Vectors of a line in shared memory, where neighbouring lines then lie in different banks.
const STRIDE: usize = DEPTH + 2;

/// The numbers of a unit's share of a fragment, where there are no matrix units: half a row.
const SHARE: usize = SIDE * SIDE / PLANE;

/// What a unit brings for a round that begins at the vector `first`: its share of the lines of `x` and of
/// the matrix. Lines that are not there are the last ones, and written nowhere; vectors from `end` on are
/// another cube's, or nobody's, and count as zeros.
#[cube]
#[allow(clippy::too_many_arguments)]
fn bring<N: Size>(
    next_x: &mut Array<Vector<f16, N>>,
    next_w: &mut Array<Vector<f16, N>>,
    dense: &Sequence<Box<[Vector<f16, N>]>>,
    words: &Sequence<Box<[u32]>>,
    factors: &Sequence<f32>,
    x: &[Vector<f16, N>],
    first_row: usize,
    rows: usize,
    own: &Part,
    first: usize,
    end: usize,
    vectors: usize,
    panel_words: usize,
    #[comptime] plan: Plan,
) {
    let units = comptime!(PLANE * PLANES);
    #[unroll]
    for n in 0..comptime!(plan.fragments) {
        let at = UNIT_POS as usize + comptime!(n * units);
        let (line, vector) = (at / comptime!(DEPTH), first + at % comptime!(DEPTH));
        let there = f16::cast_from(select(vector < end, 1.0f32, 0.0f32));
        let row = min(first_row + line, rows - 1);
        next_x[n] = x[row * vectors + min(vector, vectors - 1)] * Vector::new(there);
    }
    #[unroll]
    for matrix in 0..comptime!(plan.matrices) {
        if own.matrix == matrix {
            #[unroll]
            for n in 0..comptime!(OUTPUTS * DEPTH / units) {
                let at = UNIT_POS as usize + comptime!(n * units);
                let (line, vector) = (at / comptime!(DEPTH), first + at % comptime!(DEPTH));
                let vector = min(vector, vectors - 1);
                let output = min(own.place * comptime!(OUTPUTS) + line, own.outputs - 1);
                next_w[n] = match comptime!(plan.format) {
                    Some(format) => four(
                        &words[matrix],
                        factors[matrix],
                        output,
                        vector,
                        panel_words,
                        format,
                    ),
                    None => dense[matrix][output * vectors + vector],
                };
            }
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(super) fn block<N: Size>(
    dense: Sequence<Box<[Vector<f16, N>]>>,
    words: Sequence<Box<[u32]>>,
    factors: Sequence<f32>,
    x: &[Vector<f16, N>],
    scales: &[f32],
    biases: Sequence<Box<[f32]>>,
    residual: &[f32],
    y: &mut [f32],
    firsts: Sequence<usize>,
    outputs: Sequence<usize>,
    starts: Sequence<usize>,
    rows: usize,
    wide: usize,
    len: usize,
    vectors: usize,
    panel_words: usize,
    rounds: usize,
    cubes: usize,
    #[comptime] plan: Plan,
) {
    if CUBE_POS >= cubes {
        terminate!();
    }
    let units = comptime!(PLANE * PLANES);
    let fragments = comptime!(plan.fragments);
    let unit = UNIT_POS as usize;
    let (plane, lane) = (unit / comptime!(PLANE), unit % comptime!(PLANE));
    // Cubes of the same outputs are neighbours, which read the same weights.
    let high = rows.div_ceil(comptime!(fragments * SIDE));
    let first_row = CUBE_POS % high * comptime!(fragments * SIDE);
    let own = part(CUBE_POS / high % wide, &firsts, &outputs, &starts);
    let share = CUBE_POS / high / wide;
    let mut first = share * rounds * comptime!(DEPTH);
    let end = min(first + rounds * comptime!(DEPTH), vectors);

    let mut xs = Shared::<[Vector<f16, N>]>::new_slice(comptime!(fragments * SIDE * STRIDE));
    let mut ws = Shared::<[Vector<f16, N>]>::new_slice(comptime!(OUTPUTS * STRIDE));
    let mut sums = Shared::<[f32]>::new_slice(comptime!(SIDE * OUTPUTS));
    let mut next_x = Array::<Vector<f16, N>>::new(fragments);
    let mut next_w = Array::<Vector<f16, N>>::new(comptime!(OUTPUTS * DEPTH / units));
    let mut blocks = Sequence::<cmma::Matrix<f32>>::new();
    let mut singles = Array::<f32>::new(comptime!(fragments * SHARE));
    if comptime!(plan.units == MatrixUnits::Own) {
        #[unroll]
        for _ in 0..fragments {
            blocks.push(cmma::Matrix::<f32>::from_value(
                cmma::MatrixIdent::Accumulator,
                16usize,
                16usize,
                16usize,
                cmma::MatrixLayout::Undefined,
                0.0,
            ));
        }
    } else {
        #[unroll]
        for n in 0..comptime!(fragments * SHARE) {
            singles[n] = 0.0;
        }
    }
    bring(
        &mut next_x,
        &mut next_w,
        &dense,
        &words,
        &factors,
        x,
        first_row,
        rows,
        &own,
        first,
        end,
        vectors,
        panel_words,
        plan,
    );
    while first < end {
        #[unroll]
        for n in 0..fragments {
            let at = unit + comptime!(n * units);
            xs[at / comptime!(DEPTH) * comptime!(STRIDE) + at % comptime!(DEPTH)] = next_x[n];
        }
        #[unroll]
        for n in 0..comptime!(OUTPUTS * DEPTH / units) {
            let at = unit + comptime!(n * units);
            ws[at / comptime!(DEPTH) * comptime!(STRIDE) + at % comptime!(DEPTH)] = next_w[n];
        }
        sync_cube();
        first += comptime!(DEPTH);
        bring(
            &mut next_x,
            &mut next_w,
            &dense,
            &words,
            &factors,
            x,
            first_row,
            rows,
            &own,
            first,
            end,
            vectors,
            panel_words,
            plan,
        );
        let lines = plane * comptime!(SIDE * STRIDE);
        if comptime!(plan.units == MatrixUnits::Own) {
            #[unroll]
            for step in 0..comptime!(DEPTH * VECTOR / SIDE) {
                let from = lines + comptime!(step * SIDE / VECTOR);
                let w = cmma::Matrix::<Vector<f16, N>>::from_slice(
                    cmma::MatrixIdent::B,
                    16usize,
                    16usize,
                    16usize,
                    cmma::MatrixLayout::ColMajor,
                    &ws[from..from + comptime!(SIDE * STRIDE - step * SIDE / VECTOR)],
                    comptime!((STRIDE * VECTOR) as u32).runtime(),
                );
                #[unroll]
                for n in 0..fragments {
                    let from = comptime!(n * SIDE * STRIDE + step * SIDE / VECTOR).runtime();
                    let x = cmma::Matrix::<Vector<f16, N>>::from_slice(
                        cmma::MatrixIdent::A,
                        16usize,
                        16usize,
                        16usize,
                        cmma::MatrixLayout::RowMajor,
                        &xs[from..from + comptime!(SIDE * STRIDE - step * SIDE / VECTOR)],
                        comptime!((STRIDE * VECTOR) as u32).runtime(),
                    );
                    cmma::execute(&x, &w, &blocks[n], &blocks[n]);
                }
            }
        } else {
            for n in 0..fragments {
                let row = n * comptime!(SIDE) + lane / 2;
                for k in 0..comptime!(SHARE) {
                    let output = lane % 2 * comptime!(SHARE) + k;
                    let mut sum = 0.0f32;
                    for vector in 0..comptime!(DEPTH) {
                        let x = xs[row * comptime!(STRIDE) + vector];
                        let w = ws[lines + output * comptime!(STRIDE) + vector];
                        #[unroll]
                        for e in 0..comptime!(VECTOR) {
                            sum += f32::cast_from(x.extract(e)) * f32::cast_from(w.extract(e));
                        }
                    }
                    singles[n * comptime!(SHARE) + k] += sum;
                }
            }
        }
        sync_cube();
    }

    // A fragment of rows at a time: shared memory is what most cubes wait for.
    let from = plane * comptime!(SIDE);
    let output = own.place * comptime!(OUTPUTS) + unit % comptime!(OUTPUTS);
    #[unroll]
    for n in 0..fragments {
        if comptime!(plan.units == MatrixUnits::Own) {
            cmma::store(
                &mut sums[from..from + comptime!(SIDE * OUTPUTS - OUTPUTS + SIDE)],
                &blocks[n],
                comptime!(OUTPUTS as u32).runtime(),
                cmma::MatrixLayout::RowMajor,
            );
        } else {
            for k in 0..comptime!(SHARE) {
                let output = lane % 2 * comptime!(SHARE) + k;
                sums[from + lane / 2 * comptime!(OUTPUTS) + output] =
                    singles[comptime!(n * SHARE) + k];
            }
        }
        sync_cube();
        let mut line = unit / comptime!(OUTPUTS);
        while line < comptime!(SIDE) {
            let row = first_row + comptime!(n * SIDE) + line;
            if row < rows && output < own.outputs {
                let sum = sums[line * comptime!(OUTPUTS) + unit % comptime!(OUTPUTS)];
                let place = own.start + row * own.outputs + output;
                if comptime!(plan.shared) {
                    y[share * len + place] = sum;
                } else {
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
            line += comptime!(PLANE * PLANES / OUTPUTS);
        }
        sync_cube();
    }
}
