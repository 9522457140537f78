//! Layers that are given one input: one launch, of what each would make alone.

#![cfg(feature = "gpu")]

#[path = "gpu/common.rs"]
mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use blip2_kernels::{
    Activation, Bias, Linear, LowRank, Precision, RandomWeights, Weights,
    device::{Watch, emulate_matrix_units},
};
use burn::{
    module::Param,
    tensor::{Device, Tensor},
};

use common::{gpu, near, random};

/// For tests that count what the process makes its device do, which nobody else may do meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    emulate_matrix_units(true);
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Layers of these outputs, of random weights.
fn layers<const N: usize>(
    device: &Device,
    precision: Precision,
    inputs: usize,
    outputs: [usize; N],
    bias: bool,
) -> [Linear; N] {
    let source = RandomWeights::new(7, 0.1);
    let weights = Weights::new(&source, device).with_precision(precision);
    let mut n = 0;
    outputs.map(|outputs| {
        n += 1;
        weights.linear(&format!("fc{n}"), inputs, outputs, Bias::when(bias))
    })
}

/// How many launches the layers take together, having made what each makes alone.
#[track_caller]
fn launches<const N: usize>(layers: &[Linear; N], x: &Tensor<2>) -> u64 {
    let watch = Watch::new();
    let found = Linear::forward_together(layers.each_ref(), x.clone());
    let launches = watch.launches();
    for (layer, found) in layers.iter().zip(found) {
        assert_eq!(found.dims(), [x.dims()[0], layer.d_output()]);
        near(found, layer.forward(x.clone()));
    }
    launches
}

const PRECISIONS: [Precision; 5] = [
    Precision::F32,
    Precision::F16,
    Precision::Bf16,
    Precision::Int8,
    Precision::Int4,
];

/// Outputs that fill no panel and no block, nor what a buffer may begin at; of a few rows and of more than one
/// block, with inputs that several cubes share.
#[test]
fn layers_of_one_input_make_what_each_makes_alone() {
    let _alone = alone();
    let device = gpu();
    for precision in PRECISIONS {
        for (inputs, outputs, bias) in [(1028, [50, 33, 7], false), (36, [1, 130, 64], true)] {
            let three = layers(&device, precision, inputs, outputs, bias);
            let two = layers(&device, precision, inputs, [outputs[1], outputs[0]], bias);
            for rows in [1, 8, 20, 97] {
                let x = random([rows, inputs]).to_device(&device);
                let found = [launches(&three, &x), launches(&two, &x)];
                println!("{precision} {inputs} -> {outputs:?}, {rows} rows: {found:?} launches");
                // Of many rows, those are rounded, multiplied, and what several cubes found is added; of some,
                // and in `f32`, there is a launch for each layer.
                let most = if rows <= 8 { 1 } else { 3 };
                assert!(found.into_iter().all(|launches| launches <= most));
            }
        }
    }
}

/// What is computed in the place of one result leaves the others as they are.
#[test]
fn results_lie_apart() {
    let _alone = alone();
    let device = gpu();
    let three = layers(&device, Precision::Int8, 64, [33, 65, 30], true);
    let x = random([3, 64]).to_device(&device);
    let expected = three.each_ref().map(|layer| layer.forward(x.clone()));
    let [a, b, c] = Linear::forward_together(three.each_ref(), x);
    let b = (b * 2.0 + 1.0).exp();
    near(a, expected[0].clone());
    near(c, expected[2].clone());
    near(b.log(), expected[1].clone() * 2.0 + 1.0);
}

#[test]
fn a_gate_alone_has_the_activation() {
    let _alone = alone();
    let device = gpu();
    let biased = [true, false].into_iter().cycle();
    for (precision, bias) in PRECISIONS.into_iter().zip(biased) {
        let [gate, up] = layers(&device, precision, 64, [70, 70], bias);
        for rows in [2, 40] {
            let x = random([rows, 64]).to_device(&device);
            let gated = gate.forward_activated(x.clone(), Activation::Silu);
            let expected = gated * up.forward(x.clone());
            let watch = Watch::new();
            let found = gate.forward_gated(&up, x, Activation::Silu);
            assert!(watch.launches() <= if rows == 2 { 2 } else { 4 });
            near(found, expected);
        }
    }
}

/// Layers that are not alike, or of which one is no matrix alone, are applied one by one.
#[test]
fn layers_that_are_held_in_different_ways_are_served_too() {
    let _alone = alone();
    let device = gpu();
    let [narrow] = layers(&device, Precision::Int8, 64, [40], true);
    let [wide] = layers(&device, Precision::F16, 64, [24], true);
    let [bare] = layers(&device, Precision::F16, 64, [24], false);
    let [a, b] =
        [[4, 64], [24, 4]].map(|shape| Param::from_tensor(random::<2>(shape).to_device(&device)));
    let adapted = bare.clone().with_low_rank(LowRank::new(a, b, 0.5, 0.0));
    for rows in [1, 50] {
        let x = random([rows, 64]).to_device(&device);
        for pair in [
            [narrow.clone(), wide.clone()],
            [wide.clone(), bare.clone()],
            [bare.clone(), adapted.clone()],
        ] {
            launches(&pair, &x);
            if pair[0].d_output() == pair[1].d_output() {
                let [gate, up] = pair;
                let found = gate.forward_gated(&up, x.clone(), Activation::Gelu);
                let expected = gate.forward_activated(x.clone(), Activation::Gelu);
                near(found, expected * up.forward(x.clone()));
            }
        }
    }
}
