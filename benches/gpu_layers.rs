//! What single layers cost a GPU when launches follow one another without a pause, and when they are
//! replayed, against what the device reads and computes at most:
//!
//! ```sh
//! cargo run --release -p blip2-benches --example gpu_layers --features blip2-core/wgpu -- wgpu
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used)]

use std::time::Instant;

use blip2_core::{Precision, Weights, burn::tensor::Tensor, device_by_name, gpu};
use blip2_kernels::{
    Bias, DotProductAttention, KvCache, Linear, RandomWeights, merge_heads, replay::Rehearsal,
    split_heads,
};
use burn::tensor::{Device, Distribution};

/// Launches that are timed together.
const TOGETHER: usize = 200;
/// Matrices that take turns, so that none is found in a cache.
const COPIES: usize = 12;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| "wgpu".into());
    let device = match device_by_name(&name) {
        Ok(device) => device,
        Err(error) => return eprintln!("{error}"),
    };
    println!("{}", gpu::name(&device).unwrap_or_else(|| "no GPU".into()));
    let rate =
        |rate: Option<f64>| rate.map_or("unknown".into(), |rate| format!("{:.1}", rate / 1e9));
    println!("copies {} GB/s", rate(gpu::copy_bandwidth(&device)));
    println!("reads {} GB/s", rate(gpu::read_bandwidth(&device)));
    println!("f32 {} GFLOP/s", rate(gpu::product_peak(&device, false)));
    println!("f16 {} GFLOP/s", rate(gpu::product_peak(&device, true)));
    norm(&device);
    cached(&device);
    pictures(&device);
    for precision in [Precision::F16, Precision::Bf16, Precision::Int8] {
        for rows in [1, 72] {
            projections(&device, precision, rows);
        }
    }
    for shape in [[2560, 2560], [10240, 2560], [2560, 10240], [50304, 2560]] {
        for precision in [
            Precision::F16,
            Precision::Bf16,
            Precision::Int8,
            Precision::Int4,
        ] {
            for rows in [1, 5] {
                product(&device, precision, shape, rows);
            }
        }
    }
    for (shape, rows) in [
        ([4224, 1408], 257),
        ([1408, 1408], 257),
        ([6144, 1408], 257),
        ([1408, 6144], 257),
        ([2560, 2560], 72),
        ([10240, 2560], 72),
        ([2560, 10240], 72),
    ] {
        for precision in [
            Precision::F32,
            Precision::F16,
            Precision::Bf16,
            Precision::Int8,
        ] {
            product(&device, precision, shape, rows);
        }
    }
}

/// The seconds of one of many runs, once the device has been busy for so long that its clock is up:
/// described each time, and replayed.
fn seconds<const I: usize, const O: usize>(
    device: &Device,
    x: &Tensor<I>,
    run: impl Fn(usize, Tensor<I>) -> Tensor<O>,
) -> [f64; 2] {
    let all = |x: &Tensor<I>| {
        let runs = (0..TOGETHER).map(|n| run(n, x.clone()));
        runs.last()
    };
    let described = best(device, || drop(all(x)));
    let recorded = Rehearsal::new(std::slice::from_ref(x)).and_then(|rehearsal| {
        drop(all(&rehearsal.inputs()[0]));
        rehearsal.record(|inputs| all(&inputs[0]))
    });
    let replayed = recorded.map_or(f64::NAN, |mut replay| {
        best(device, || drop(replay.run(std::slice::from_ref(x))))
    });
    [described, replayed].map(|seconds| seconds / TOGETHER as f64)
}

fn best(device: &Device, run: impl FnMut()) -> f64 {
    const WARM: f64 = 0.3;
    let (begin, mut best, mut run) = (Instant::now(), f64::INFINITY, run);
    let mut left = 3;
    while left > 0 {
        let start = Instant::now();
        run();
        device.sync().expect("the device answers");
        if begin.elapsed().as_secs_f64() > WARM {
            best = best.min(start.elapsed().as_secs_f64());
            left -= 1;
        }
    }
    best
}

fn print(what: &str, [described, replayed]: [f64; 2]) {
    println!(
        "{what}: {:8.2} us, replayed {:8.2} us",
        1e6 * described,
        1e6 * replayed
    );
}

fn product(device: &Device, precision: Precision, [outputs, inputs]: [usize; 2], rows: usize) {
    let source = RandomWeights::new(1, 0.02);
    let weights = Weights::new(&source, device).with_precision(precision);
    let before = gpu::memory_in_use(device).unwrap_or_default();
    let copies = if outputs > 40_000 { 2 } else { COPIES };
    let layers: Vec<Linear> = (0..copies)
        .map(|n| weights.linear(&format!("fc{n}"), inputs, outputs, Bias::With))
        .collect();
    let x = Tensor::<2>::random([rows, inputs], Distribution::Default, device);
    device.sync().expect("the device answers");
    let bytes = (gpu::memory_in_use(device).unwrap_or_default() - before) as f64 / copies as f64;
    let [described, replayed] = seconds(device, &x, |n, x| layers[n % copies].forward(x));
    let operations = 2.0 * (outputs * inputs * rows) as f64;
    println!(
        "{precision:9} [{outputs:5}, {inputs:5}] x {rows:3}: {:8.2} us, replayed {:8.2} us {:8.1} GB/s \
         {:9.1} GFLOP/s",
        1e6 * described,
        1e6 * replayed,
        bytes / replayed / 1e9,
        operations / replayed / 1e9
    );
}

/// Queries, keys and values of a layer.
fn projections(device: &Device, precision: Precision, rows: usize) {
    const WIDTH: usize = 2560;
    let source = RandomWeights::new(1, 0.02);
    let weights = Weights::new(&source, device).with_precision(precision);
    let layers: Vec<[Linear; 3]> = (0..COPIES / 3)
        .map(|n| {
            ["q", "k", "v"]
                .map(|part| weights.linear(&format!("{part}{n}"), WIDTH, WIDTH, Bias::With))
        })
        .collect();
    let x = Tensor::<2>::random([rows, WIDTH], Distribution::Default, device);
    let seconds = seconds(device, &x, |n, x| {
        let [q, _, _] = Linear::forward_together(layers[n % layers.len()].each_ref(), x);
        q
    });
    print(
        &format!("{precision:9} three of [{WIDTH}, {WIDTH}] x {rows:3}"),
        seconds,
    );
}

fn norm(device: &Device) {
    let source = RandomWeights::new(1, 0.02);
    for rows in [1, 257] {
        let norm = Weights::new(&source, device).layer_norm("norm", 2560, 1e-5);
        let x = Tensor::<2>::random([rows, 2560], Distribution::Default, device);
        let seconds = seconds(device, &x, |_, x| norm.forward(x));
        print(&format!("layer norm of {rows:3} x 2560"), seconds);
    }
}

fn cached(device: &Device) {
    let random = |shape: [usize; 3]| Tensor::<3>::random(shape, Distribution::Default, device);
    let [q, k, v] = [1, 90, 90].map(|places| split_heads(random([1, places, 2560]), 32));
    let mut cache = KvCache::new(1, 2048);
    cache.append(k.clone(), v.clone());
    let attend = seconds(device, &q, |_, q| {
        merge_heads(cache.attention(q, 0.1).forward().output)
    });
    print("attention of a query over 90 places", attend);
    let (k, v) = (k.narrow(2, 0, 1), v.narrow(2, 0, 1));
    let append = best(device, || {
        for _ in 0..TOGETHER {
            cache.append(k.clone(), v.clone());
        }
    });
    println!(
        "a place of keys and values: {:8.2} us",
        1e6 * append / TOGETHER as f64
    );
}

fn pictures(device: &Device) {
    let random = || Tensor::<3>::random([1, 257, 1408], Distribution::Default, device);
    let [q, k, v] = [(); 3].map(|()| split_heads(random(), 16));
    let attend = seconds(device, &q, |_, q| {
        let attention = DotProductAttention::new(q, k.clone(), v.clone(), 0.1);
        merge_heads(attention.forward().output)
    });
    print("attention of 257 patches in 16 heads", attend);
}
