//! The kernels of GPUs against the same numbers on a processor: on whatever device wgpu finds.

#![cfg(feature = "gpu")]

use blip2_kernels::{
    Activation, Bias, DotProductAttention, KvCache, Linear, Matrix, Precision, RandomWeights,
    Weights, causal_bias, merge_heads, split_heads,
};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData, Tolerance};

fn gpu() -> Device {
    Device::wgpu(Default::default())
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

#[track_caller]
fn near<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    let (found, expected) = (found.into_data(), expected.into_data());
    let values = expected.iter::<f32>().map(f32::abs);
    let scale = values.fold(1e-3f32, f32::max);
    found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(2e-6 * scale.max(1.0) * 4.0));
}

/// The layer `fc` of random weights as `device` holds it.
fn layer(device: &Device, precision: Precision, [outputs, inputs]: [usize; 2]) -> Linear {
    let source = RandomWeights::new(3, 0.1);
    let weights = Weights::new(&source, device).with_precision(precision);
    weights.linear("fc", inputs, outputs, Bias::With)
}

/// What the layer's matrix stands for, whatever it is held in, and its bias.
fn exact(precision: Precision, [outputs, inputs]: [usize; 2]) -> (Tensor<2>, Tensor<2>) {
    let (source, flex) = (RandomWeights::new(3, 0.1), Device::flex());
    let weights = Weights::new(&source, &flex)
        .with_precision(precision)
        .at("fc");
    let matrix: Matrix = weights.matrix("weight", outputs, inputs);
    let bias = weights
        .param("bias", [outputs], blip2_kernels::Role::Bias)
        .val();
    (matrix.to_tensor(&flex), bias.unsqueeze())
}

#[test]
fn products_of_few_and_many_rows_are_those_of_the_widened_matrix() {
    let device = gpu();
    let shapes = [[32, 32], [50, 64], [7, 100], [130, 2560], [33, 30], [1, 4]];
    for precision in [
        Precision::F32,
        Precision::F16,
        Precision::Bf16,
        Precision::Int8,
        Precision::Int4,
    ] {
        for shape in shapes {
            let [outputs, inputs] = shape;
            let own = layer(&device, precision, shape);
            let (weight, bias) = exact(precision, shape);
            for rows in [1, 5, 8, 9, 70] {
                let (x, residual) = (random([rows, inputs]), random([rows, outputs]));
                let sums = x.clone().matmul(weight.clone().transpose()) + bias.clone();
                let (on, onto) = (x.to_device(&device), residual.clone().to_device(&device));
                near(own.forward(on.clone()), sums.clone());
                near(own.forward_onto(on.clone(), onto), residual + sums.clone());
                // Each function once in each way that a product is computed.
                let functions = Activation::ALL.into_iter().filter(|_| outputs == 50);
                for function in functions {
                    let found = own.forward_activated(on.clone(), function);
                    near(found, function.forward(sums.clone()));
                }
            }
        }
    }
}

#[test]
fn tables_are_looked_up_as_they_are_held() {
    let (source, device, flex) = (RandomWeights::new(3, 0.1), gpu(), Device::flex());
    let indices = [[3, 39, 0, 31], [32, 33, 7, 3]];
    for precision in [
        Precision::F32,
        Precision::F16,
        Precision::Bf16,
        Precision::Int8,
        Precision::Int4,
    ] {
        for tied in [false, true] {
            let table = |device: &Device| {
                let weights = Weights::new(&source, device).with_precision(precision);
                match tied {
                    true => weights.tied_embedding("words", 40, 64),
                    false => weights.embedding("words", 40, 64),
                }
            };
            let on = |device: &Device| Tensor::<2, Int>::from_ints(indices, device);
            let (own, other) = (table(&device), table(&flex));
            near(own.forward(on(&device)), other.forward(on(&flex)));
        }
    }
}

#[test]
fn norms_are_those_of_a_processor() {
    let (source, device, flex) = (RandomWeights::new(3, 0.1), gpu(), Device::flex());
    for width in [8, 100, 1408] {
        for rows in [1, 5, 300] {
            let x = random([rows, width]) * 3.0 + 1.0;
            let layer = |device| Weights::new(&source, device).layer_norm("norm", width, 1e-5);
            near(
                layer(&device).forward(x.clone().to_device(&device)),
                layer(&flex).forward(x.clone()),
            );
            let rms = |device| Weights::new(&source, device).rms_norm("norm", width, 1e-6);
            near(
                rms(&device).forward(x.clone().to_device(&device)),
                rms(&flex).forward(x),
            );
        }
    }
}

#[test]
fn attention_needs_no_map() {
    let device = gpu();
    for (heads, groups, width) in [(2, 2, 8), (4, 2, 64), (3, 1, 80), (2, 2, 128), (2, 2, 6)] {
        for (queries, keys) in [(1, 1), (1, 7), (1, 300), (6, 6), (5, 257), (33, 40)] {
            let q = random([2, queries, heads * width]);
            let [k, v] = [0, 1].map(|_| random([2, keys, groups * width]));
            let scale = (width as f64).sqrt().recip();
            let biases = [
                None,
                Some(random([2, 1, 1, keys])),
                Some(random([1, heads, queries, keys])),
                (queries <= keys).then(|| causal_bias(queries, keys, &Device::flex())),
            ];
            for bias in biases {
                let attend = |device: &Device, keep: bool| {
                    let part =
                        |x: &Tensor<3>, heads| split_heads(x.clone().to_device(device), heads);
                    let attention = DotProductAttention::new(
                        part(&q, heads),
                        part(&k, groups),
                        part(&v, groups),
                        scale,
                    );
                    let bias = bias.clone().map(|bias| bias.to_device(device));
                    let attention = attention.with_bias(bias).with_map(keep);
                    merge_heads(attention.forward().output)
                };
                near(attend(&device, false), attend(&Device::flex(), true));
            }
        }
    }
    // Queries, keys and values side by side.
    let qkv = random([2, 3 * 4, 37, 16]);
    let joint = |device: &Device| {
        DotProductAttention::joint(qkv.clone().to_device(device), 0.25)
            .forward()
            .output
    };
    near(joint(&device), joint(&Device::flex()));
}

#[test]
fn a_cache_grows_and_changes_rows() {
    let device = gpu();
    let mut caches = [Device::flex(), device].map(|device| (KvCache::new(2, 6), device));
    let mut copy = None;
    for (rows, new, chosen) in [
        (2, 3, None),
        (2, 1, Some(vec![1, 0, 1])),
        (3, 1, None),
        (3, 5, None),
    ] {
        let [k, v] = [0, 1].map(|_| random([rows, new, 2 * 8]));
        let q = random([rows, 1, 4 * 8]);
        let outputs = caches.each_mut().map(|(cache, device)| {
            let part = |x: &Tensor<3>, heads| split_heads(x.clone().to_device(device), heads);
            cache.append(part(&k, 2), part(&v, 2));
            let output = cache.attention(part(&q, 4), 0.3).forward().output;
            if let Some(rows) = &chosen {
                cache.select(rows);
            }
            output
        });
        let [expected, found] = outputs;
        near(found, expected);
        // A clone keeps what it had.
        copy.get_or_insert_with(|| caches[1].0.clone());
    }
    let copy = copy.unwrap();
    assert_eq!((copy.len(), copy.rows()), (3, 2));
    let q = random([2, 1, 4 * 8]);
    let q = split_heads(q.to_device(&caches[1].1), 4);
    let seen = copy.attention(q, 0.3).forward().output;
    assert_eq!(seen.dims(), [2, 4, 1, 8]);
}

#[test]
fn large_activations_do_not_leave_the_range_of_halves() {
    let device = gpu();
    let own = layer(&device, Precision::F16, [40, 64]);
    let (weight, bias) = exact(Precision::F16, [40, 64]);
    let x = random([20, 64]) * 1e6;
    let expected = x.clone().matmul(weight.transpose()) + bias;
    let data: TensorData = own.forward(x.to_device(&device)).into_data();
    near(Tensor::<2>::from_data(data, &Device::flex()), expected);
}
