//! This machine: what it is called, and the most that it can do.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use blip2_core::{Device, Isa, Precision, PrecisionPlan, gpu};
use macerator::{Scalar, Simd, Vector};
use rayon::prelude::*;
use serde::Serialize;

/// The machine that figures were taken on.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    /// The instruction sets that matter to matrix products.
    pub(super) isa: Vec<&'static str>,
    /// The set that kernels of our own use.
    pub(super) kernels: &'static str,
    /// What the threads that were measured with can do at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peaks: Option<Peaks>,
}

/// The most that a number of threads, or a GPU, can do.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Peaks {
    /// Fused multiply-adds of `f32`, each counted as two operations, on registers alone.
    pub(super) f32_gflops: f64,
    /// Multiply-adds of the image encoder's precision, by the instructions that its products use.
    pub(super) vision_gflops: f64,
    /// The same of the language model's.
    pub(super) language_model_gflops: f64,
    /// Reading memory that no cache holds.
    pub(super) streaming_gb_per_second: f64,
}

impl Machine {
    /// Asks the machine, and measures its peaks in these precisions if they are wanted.
    pub(super) fn new(peaks: Option<PrecisionPlan>, device: &Device) -> Self {
        Self {
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            isa: isa(),
            kernels: Isa::active().name(),
            peaks: peaks
                .map(|plan| Peaks::of_gpu(plan, device).unwrap_or_else(|| Peaks::measure(plan))),
        }
    }
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_string())
    });
    name.unwrap_or_else(|| std::env::consts::ARCH.to_string())
}

fn isa() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    for (name, has) in [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ] {
        if has {
            found.push(name);
        }
    }
    #[cfg(target_arch = "aarch64")]
    for (name, has) in [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        (
            "dotprod",
            std::arch::is_aarch64_feature_detected!("dotprod"),
        ),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ] {
        if has {
            found.push(name);
        }
    }
    found
}

impl Peaks {
    /// Of a GPU, whose streaming is copying; `None` for a processor, or where the device does not tell.
    fn of_gpu(plan: PrecisionPlan, device: &Device) -> Option<Self> {
        gpu::name(device)?;
        let gflops = |precision| {
            // Brain floats as stored are widened.
            let halves = !matches!(precision, Precision::F32 | Precision::AsStored);
            gpu::product_peak(device, halves).map(|rate| rate / 1e9)
        };
        Some(Self {
            f32_gflops: gflops(Precision::F32)?,
            vision_gflops: gflops(plan.vision)?,
            language_model_gflops: gflops(plan.language_model)?,
            streaming_gb_per_second: gpu::copy_bandwidth(device)? / 1e9,
        })
    }

    fn measure(precision: PrecisionPlan) -> Self {
        let f32_gflops = f32_gflops();
        let of = |precision| match precision {
            Precision::F32 | Precision::AsStored => f32_gflops,
            _ => gflops(precision),
        };
        let vision_gflops = of(precision.vision);
        let language_model_gflops = match precision.language_model {
            same if same == precision.vision => vision_gflops,
            other => of(other),
        };
        Self {
            f32_gflops,
            vision_gflops,
            language_model_gflops,
            streaming_gb_per_second: streaming(),
        }
    }
}

/// The best of a few runs: what disturbs one makes it slower, never faster.
fn best(runs: usize, run: impl Fn() -> f64) -> f64 {
    (0..runs).map(|_| run()).fold(0.0, f64::max)
}

/// Sums that are kept in registers side by side: more than a core has in flight, and few enough
/// that none is spilled.
const SUMS: usize = 12;

/// Rounds of multiply-adds on registers alone; returns the operations done.
#[macerator::with_simd]
fn multiply_add<S: Simd>(rounds: usize) -> f64 {
    let factor: Vector<S, f32> = black_box(0.999_f32).splat();
    let addend: Vector<S, f32> = black_box(0.001_f32).splat();
    let mut sums = [addend; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = sum.mul_add(factor, addend);
        }
    }
    black_box(sums.map(|sum| sum.reduce_add()));
    (2 * SUMS * rounds * f32::lanes::<S>()) as f64
}

fn f32_gflops() -> f64 {
    best(5, || {
        let start = Instant::now();
        let done = rayon::broadcast(|_| multiply_add(2_000_000));
        done.iter().sum::<f64>() / start.elapsed().as_secs_f64() / 1e9
    })
}

/// Multiply-adds of a precision by our own kernels' instructions.
fn gflops(precision: Precision) -> f64 {
    const MOMENT: Duration = Duration::from_millis(20);
    best(5, || {
        let rates = rayon::broadcast(|_| {
            let (start, mut done) = (Instant::now(), 0.0);
            while start.elapsed() < MOMENT {
                done += precision.saturate();
            }
            done / start.elapsed().as_secs_f64()
        });
        rates.iter().sum::<f64>() / 1e9
    })
}

fn streaming() -> f64 {
    // Far more than any cache holds.
    const NUMBERS: usize = 512 << 17;
    let numbers: Vec<u64> = (0..NUMBERS as u64).into_par_iter().collect();
    best(8, || {
        let start = Instant::now();
        let sum = numbers
            .par_chunks(1 << 17)
            .map(|chunk| chunk.iter().fold(0u64, |sum, n| sum.wrapping_add(*n)))
            .reduce(|| 0, u64::wrapping_add);
        black_box(sum);
        size_of_val(numbers.as_slice()) as f64 / start.elapsed().as_secs_f64() / 1e9
    })
}
