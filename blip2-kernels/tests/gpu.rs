//! The kernels of GPUs against the same numbers on a processor: on whatever device wgpu finds.

#![cfg(feature = "gpu")]

#[path = "gpu/common.rs"]
mod common;
#[path = "gpu/top.rs"]
mod top;

use blip2_kernels::{
    Activation, DotProductAttention, KvCache, Likeliest, Matrix, Precision, RandomWeights, Weights,
    causal_bias, device::has_matrix_units, likeliest, merge_heads, split_heads,
};
use burn::tensor::{Device, Int, Tensor, TensorData};

use common::{gpu, layer, near, random};

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
    let shapes = [
        [32, 32],
        [50, 64],
        [7, 100],
        [130, 2560],
        [33, 30],
        [1, 4],
        [2100, 68],
    ];
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
            // What matrix units multiply is rounded: see `halves.rs`.
            let float = matches!(precision, Precision::F32 | Precision::Bf16);
            let many = (float || !has_matrix_units(&device)).then_some(70);
            for rows in [1, 5, 8, 9].into_iter().chain(many) {
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
    // More rows than a grid has along an axis, and a number of them that no grid of two axes is.
    let many = [(8, 65_537)];
    let few = [8, 100, 1408].map(|width| [1, 5, 300].map(|rows| (width, rows)));
    for (width, rows) in few.into_iter().flatten().chain(many) {
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

#[test]
fn attention_needs_no_map() {
    let device = gpu();
    for (heads, groups, width) in [(2, 2, 8), (4, 2, 64), (3, 1, 80), (2, 2, 128), (2, 2, 6)] {
        for (queries, keys) in [
            (1, 1),
            (1, 7),
            (1, 300),
            (6, 6),
            (5, 257),
            (33, 40),
            (70, 257),
        ] {
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

/// Whatever comes to a cache, in whatever order, it is what a processor's is.
#[test]
fn sequences_move_as_on_a_processor() {
    let mut state = 7u64;
    let mut draw = |below: usize| {
        // Of a linear congruential generator, the upper bits.
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for (prompts, capacity) in [(1, 40), (2, 6), (5, 300)] {
        let mut caches = [Device::flex(), gpu()].map(|device| {
            let caches = vec![KvCache::new(prompts, capacity); 2];
            (caches, device)
        });
        let mut prompt = true;
        for _ in 0..40 {
            let (rows, len) = (caches[0].0[0].rows(), caches[0].0[0].len());
            let (what, new) = match std::mem::replace(&mut prompt, false) {
                true => (0, 3 + draw(5)),
                false => (draw(8), 1 + draw(2) * draw(3)),
            };
            let chosen: Vec<usize> = match draw(3) {
                0 => (0..1 + draw(7)).map(|_| draw(rows)).collect(),
                _ => (0..rows).map(|_| draw(rows)).collect(),
            };
            let dropped = draw(3).min(len.saturating_sub(9));
            let [k, v] = [0, 1].map(|_| random([rows, new, 2 * 8]));
            let q = [1, 3, 17].map(|queries| random([rows, queries, 4 * 8]));
            let outputs = caches.each_mut().map(|(layers, device)| {
                let part = |x: &Tensor<3>, heads| split_heads(x.clone().to_device(device), heads);
                match what {
                    0..=4 => {
                        for cache in layers.iter_mut() {
                            cache.append(part(&k, 2), part(&v, 2));
                        }
                    }
                    5 => {
                        for cache in layers.iter_mut() {
                            cache.drop_last(dropped);
                        }
                    }
                    6 => layers[1] = layers[0].clone(),
                    _ => {}
                }
                let attend = |cache: &KvCache, q| cache.attention(part(q, 4), 0.3).forward().output;
                let of_all = layers
                    .iter()
                    .flat_map(|cache| q.each_ref().map(|q| attend(cache, q)));
                let outputs: Vec<_> = of_all.collect();
                if what > 2 {
                    KvCache::select_all(layers.iter_mut(), &chosen);
                }
                outputs
            });
            let [expected, found] = outputs;
            for (found, expected) in found.into_iter().zip(expected) {
                near(found, expected);
            }
            let [expected, found] = caches.each_ref().map(|(layers, _)| {
                layers
                    .iter()
                    .map(|cache| (cache.rows(), cache.len()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn the_newest_place_is_there_for_whoever_reads_it_first() {
    // Of two heads that share one of keys; 300 places are more than a cube has units.
    for (places, change) in [3, 300]
        .into_iter()
        .flat_map(|n| (0..6).map(move |c| (n, c)))
    {
        let all = [0, 1].map(|_| random([2, places + 2, 2 * 8]));
        let q = random([2, 1, 4 * 8]);
        let outputs = [Device::flex(), gpu()].map(|device| {
            let part = |x: &Tensor<3>, heads| split_heads(x.clone().to_device(&device), heads);
            let some = |n: usize, first, new| part(&all[n].clone().narrow(1, first, new), 2);
            let mut cache = KvCache::new(2, places + 2);
            let append = |cache: &mut KvCache, first, new| {
                cache.append(some(0, first, new), some(1, first, new));
            };
            append(&mut cache, 0, places);
            append(&mut cache, places, 1);
            let mut copy = None;
            match change {
                0 => {}
                1 => append(&mut cache, places + 1, 1),
                2 => cache.select(&[1, 0]),
                3 => {
                    cache.drop_last(1);
                    append(&mut cache, places + 1, 1);
                }
                4 => copy = Some(cache.clone()),
                _ => {
                    copy = Some(cache.clone());
                    append(&mut cache, places + 1, 1);
                }
            }
            let caches = [Some(cache), copy].into_iter().flatten();
            let outputs = caches.flat_map(|cache| {
                [change % 2 == 1, false, true].map(|map| {
                    let attention = cache.attention(part(&q, 4), 0.3).with_map(map);
                    attention.forward().output.to_device(&Device::flex())
                })
            });
            outputs.collect::<Vec<_>>()
        });
        let [expected, found] = outputs;
        for (found, expected) in found.into_iter().zip(expected) {
            near(found, expected);
        }
    }
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

/// What a row of logits gives, as a device finds it.
fn found(rows: &[Vec<f32>], forbidden: &[u32]) -> Vec<Likeliest> {
    let (count, width) = (rows.len(), rows[0].len());
    let data = TensorData::new(rows.concat(), [count, 1, width]);
    let logits = Tensor::<3>::from_data(data, &gpu());
    let found = likeliest(&logits, forbidden).unwrap();
    Likeliest::of(&found.into_data().try_into_vec::<f32>().unwrap())
}

/// The likeliest by a pass over the numbers, in 64 bits.
fn expected(row: &[f32], forbidden: &[u32]) -> (u32, f64) {
    let mut best: Option<usize> = None;
    for (id, &logit) in row.iter().enumerate() {
        if !forbidden.contains(&(id as u32)) && best.is_none_or(|best| logit > row[best]) {
            best = Some(id);
        }
    }
    let best = best.unwrap();
    let largest = row.iter().copied().fold(f32::MIN, f32::max);
    let exponentials = row.iter().map(|x| f64::from(x - largest).exp());
    let logprob = f64::from(row[best] - largest) - exponentials.sum::<f64>().ln();
    (best as u32, logprob)
}

#[test]
fn the_likeliest_token_is_the_first_of_the_largest_that_may_come() {
    for width in [1, 7, 256, 257, 5000, 50_304] {
        let random = random([3, width])
            .into_data()
            .try_into_vec::<f32>()
            .unwrap();
        let mut rows: Vec<Vec<f32>> = random.chunks(width).map(<[f32]>::to_vec).collect();
        // Coarse, so that ties abound; and none above zero, where zeros have either sign.
        rows.push(rows[0].iter().map(|x| (2.0 * x).round()).collect());
        rows.push(
            rows[1]
                .iter()
                .map(|x| (x.round().abs()).copysign(-1.0))
                .collect(),
        );
        let signs = (0..width).map(|id| if id % 3 == 0 { -0.0 } else { 0.0 });
        rows.push(signs.collect());
        rows.push(rows[2].iter().map(|x| 1e30 * x).collect());
        let top = expected(&rows[0], &[]).0;
        for forbidden in [vec![], vec![top], vec![top, 0, 3, 9]] {
            if forbidden.len() >= width {
                continue;
            }
            for (row, found) in rows.iter().zip(found(&rows, &forbidden)) {
                let (id, logprob) = expected(row, &forbidden);
                let Likeliest::Token {
                    id: own,
                    logprob: own_logprob,
                    ..
                } = found
                else {
                    panic!("{found:?}")
                };
                assert_eq!(own, id, "{width} wide, without {forbidden:?}");
                let off = (f64::from(own_logprob) - logprob).abs();
                assert!(
                    off < 2e-6 * logprob.abs().max(1.0),
                    "{own_logprob}, {logprob}"
                );
            }
        }
    }
}

#[test]
fn logits_that_are_no_distribution_are_told() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for width in [4, 3000] {
        let row = |id: usize, value: f32, other: f32| {
            let mut row = vec![other; width];
            row[id] = value;
            row
        };
        let last = width - 1;
        let rows = [
            row(last, nan, 0.5),
            row(0, -nan, 0.5),
            row(1, inf, 0.5),
            row(1, nan, inf),
            row(1, -inf, -inf),
            row(2, 0.25, -inf),
            row(2, -inf, 0.25),
        ];
        let found = found(&rows, &[2]);
        for n in [0, 1, 3] {
            assert!(
                matches!(found[n], Likeliest::NoDistribution(x) if x.is_nan()),
                "{n}: {found:?}"
            );
        }
        assert_eq!(found[2], Likeliest::NoDistribution(inf));
        assert_eq!(found[4], Likeliest::NoDistribution(-inf));
        assert_eq!(found[5], Likeliest::NoToken);
        let Likeliest::Token { id: 0, logprob, .. } = found[6] else {
            panic!("{:?}", found[6])
        };
        let expected = -((width - 1) as f32).ln();
        assert!((logprob - expected).abs() < 1e-5, "{logprob} {expected}");
    }
    // More than a device leaves out, and logits that are no device's.
    let logits = Tensor::<3>::zeros([1, 1, 8], &gpu());
    assert!(likeliest(&logits, &[0, 1, 2, 3, 4]).is_none());
    assert!(likeliest(&logits.to_device(&Device::flex()), &[]).is_none());
}
