//! Products of many rows by matrix units, emulated where the device has none.

#![cfg(feature = "gpu")]

#[path = "gpu/common.rs"]
mod common;

use blip2_kernels::{
    Activation, Bias, Matrix, Precision, RandomWeights, Role, Weights, device::emulate_matrix_units,
};
use burn::tensor::{Device, Tensor, Tolerance};

use common::{gpu, layer, random};

/// What the layer's matrix stands for as `f16`, and its bias.
fn rounded(precision: Precision, [outputs, inputs]: [usize; 2]) -> (Tensor<2>, Tensor<2>) {
    let (source, flex) = (RandomWeights::new(3, 0.1), Device::flex());
    let weights = Weights::new(&source, &flex).with_precision(precision);
    let weights = weights.at("fc");
    let matrix: Matrix = weights.matrix("weight", outputs, inputs);
    let bias = weights.param("bias", [outputs], Role::Bias).val();
    (matrix.to_tensor(&flex), bias.unsqueeze())
}

/// Numbers that `f16` has.
fn halves(x: Tensor<2>) -> Tensor<2> {
    (x * 64).round() / 64
}

#[track_caller]
fn near(what: &str, found: Tensor<2>, expected: Tensor<2>, bound: f32) {
    let (found, expected) = (found.into_data(), expected.into_data());
    assert!(found.iter::<f32>().all(f32::is_finite), "{what}");
    let largest = expected.iter::<f32>().map(f32::abs).fold(1.0, f32::max);
    println!("{what}: of up to {largest}");
    found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(bound * largest));
}

#[test]
fn many_rows_are_the_product_of_what_is_held() {
    emulate_matrix_units(true);
    let device = gpu();
    // Rows and outputs that fill no block, inputs that fill no round, and blocks that several cubes share.
    let shapes = [[50, 36], [130, 1028]];
    for (precision, bound) in [
        (Precision::F16, 4e-6),
        (Precision::Int8, 4e-6),
        (Precision::Bf16, 4e-6),
        // A weight of 4 bits times a scale of 11 is rounded to the 11 of `f16`.
        (Precision::Int4, 1e-3),
    ] {
        for shape in shapes {
            let [outputs, inputs] = shape;
            let own = layer(&device, precision, shape);
            let (weight, bias) = rounded(precision, shape);
            for rows in [33, 97] {
                let what = format!("{precision} {shape:?} x {rows}");
                let (x, residual) = (halves(random([rows, inputs])), random([rows, outputs]));
                let sums = x.clone().matmul(weight.clone().transpose()) + bias.clone();
                let (on, onto) = (x.to_device(&device), residual.clone().to_device(&device));
                near(&what, own.forward(on.clone()), sums.clone(), bound);
                let added = own.forward_onto(on.clone(), onto);
                near(&what, added, residual + sums.clone(), bound);
                let found = own.forward_activated(on, Activation::Gelu);
                near(&what, found, Activation::Gelu.forward(sums), bound);
            }
        }
    }
}

#[test]
fn rows_beyond_the_range_of_halves_are_scaled() {
    emulate_matrix_units(true);
    let (device, shape) = (gpu(), [40, 64]);
    let own = layer(&device, Precision::F16, shape);
    let (weight, bias) = rounded(Precision::F16, shape);
    // Powers of two, so that nothing is rounded; a row of zeros; and rows of every size.
    let sizes = (0..70).map(|row| {
        if row == 7 {
            0.0
        } else {
            2f32.powi(row / 2 - 10)
        }
    });
    let sizes = Tensor::<1>::from_data(sizes.collect::<Vec<_>>().as_slice(), &Device::flex());
    let sizes = sizes.reshape([70, 1]);
    let x = halves(random([70, 64])).clamp(-8, 8);
    let expected = x.clone().matmul(weight.transpose());
    let found = own.forward((x * sizes.clone()).to_device(&device));
    let found = found.to_device(&Device::flex()) - bias;
    let there = sizes.clone().greater_elem(0).int().float();
    let found = found / (sizes + (there.clone() * -1 + 1));
    near("scaled", found, expected * there, 3e-5);
}

/// Brain floats have a range that `f16` has not.
#[test]
fn brain_floats_of_any_size_keep_their_digits() {
    emulate_matrix_units(true);
    let (device, flex) = (gpu(), Device::flex());
    for size in [1e-30f32, 1e-6, 1e6, 1e25] {
        let source = RandomWeights::new(9, size);
        let on = |device: &Device| {
            let weights = Weights::new(&source, device).with_precision(Precision::Bf16);
            weights.linear("fc", 68, 40, Bias::Without)
        };
        let weights = Weights::new(&source, &flex).with_precision(Precision::Bf16);
        let matrix: Matrix = weights.at("fc").matrix("weight", 40, 68);
        let x = halves(random([50, 68]));
        let expected = x.clone().matmul(matrix.to_tensor(&flex).transpose());
        let found = on(&device).forward(x.to_device(&device)).to_device(&flex);
        near(
            "brain floats",
            found / size as f32,
            expected / size as f32,
            4e-6,
        );
    }
}

#[test]
fn a_layer_without_a_bias_adds_none() {
    emulate_matrix_units(true);
    let device = gpu();
    let source = RandomWeights::new(5, 0.1);
    let layer = |device: &Device, precision| {
        let weights = Weights::new(&source, device).with_precision(precision);
        weights.linear("fc", 128, 48, Bias::Without)
    };
    let x = halves(random([40, 128]));
    let found = layer(&device, Precision::Int8).forward(x.clone().to_device(&device));
    let held = {
        let flex = Device::flex();
        let weights = Weights::new(&source, &flex).with_precision(Precision::Int8);
        let matrix: Matrix = weights.at("fc").matrix("weight", 48, 128);
        matrix.to_tensor(&flex)
    };
    near("no bias", found, x.matmul(held.transpose()), 4e-6);
}
