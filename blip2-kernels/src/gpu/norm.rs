//! Norms over the last axis, a row for each cube.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl::{self, prelude::*};

use super::{
    count,
    sum::fold,
    tensors::{self, UNITS, buffer, bytes, elements, empty, lift, lower},
};

/// The sum of what every unit holds, for every unit.
#[cube]
fn total(shared: &mut Shared<[f32]>, mine: f32) -> f32 {
    // Nobody writes before everybody has read what was there before.
    sync_cube();
    shared[UNIT_POS as usize] = mine;
    fold(
        shared,
        1usize.runtime(),
        comptime!(UNITS as usize),
        comptime!(UNITS as usize),
    );
    shared[0]
}

#[cube(launch_unchecked)]
fn norm_rows(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
    rows: usize,
    width: usize,
    eps: f32,
    #[comptime] centred: bool,
) {
    if CUBE_POS >= rows {
        terminate!();
    }
    let units = comptime!(UNITS as usize);
    let start = CUBE_POS * width;
    let mut shared = Shared::<[f32]>::new_slice(units);
    let mut mean = 0.0f32;
    if centred {
        let mut sum = 0.0f32;
        let mut at = UNIT_POS as usize;
        while at < width {
            sum += x[start + at];
            at += units;
        }
        mean = total(&mut shared, sum) / f32::cast_from(width);
    }
    let mut sum = 0.0f32;
    let mut at = UNIT_POS as usize;
    while at < width {
        let apart = x[start + at] - mean;
        sum += apart * apart;
        at += units;
    }
    let variance = total(&mut shared, sum) / f32::cast_from(width);
    let inverse = 1.0 / (variance + eps).sqrt();
    let mut at = UNIT_POS as usize;
    while at < width {
        let mut value = (x[start + at] - mean) * inverse * weight[at];
        if centred {
            value += bias[at];
        }
        y[start + at] = value;
        at += units;
    }
}

/// As [`crate::seam::layer_norm`].
pub(crate) fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<D>> {
    norm(x, weight, Some(bias), eps)
}

/// As [`crate::seam::rms_norm`].
pub(crate) fn rms_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<D>> {
    norm(x, weight, None, eps)
}

fn norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    eps: f64,
) -> Option<Tensor<D>> {
    let (shape, width) = (x.dims(), weight.dims()[0]);
    let (x, weight) = (lower(x)?, lower(weight)?);
    let offset = match bias {
        Some(bias) => lower(bias)?,
        None => weight.clone(),
    };
    let len = elements(&x);
    if len == 0 || width == 0 {
        return None;
    }
    let (y, rows) = (empty(&x, shape, DType::F32), len / width);
    count::moves(2 * bytes(&x) + bytes(&weight) + bias.map_or(0, |_| bytes(&offset)));
    // SAFETY: a cube reads and writes one of the rows of both tensors, which have the same shape, and reads the
    // weight and, if it is there, the bias, of the row's width.
    unsafe {
        norm_rows::launch_unchecked(
            &x.client,
            tensors::cubes(rows),
            CubeDim::new_1d(UNITS),
            buffer(&x, len),
            buffer(&weight, elements(&weight)),
            buffer(&offset, elements(&offset)),
            buffer(&y, len),
            rows,
            width,
            eps as f32,
            bias.is_some(),
        );
    }
    Some(lift(y))
}
