//! A converted checkpoint is in memory once, not twice.
#![cfg(feature = "checkpoint")]
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;

use blip2_io::{Checkpoint, CheckpointWeights};
use blip2_kernels::{Precision, Role, TensorRequest, WeightSource};
use blip2_testing::{folder, safetensors};
use burn::tensor::Device;
use safetensors::Dtype;

/// The bytes of mapped files that this process holds in memory.
fn mapped() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssFile"))
        .unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    1024 * kilobytes.parse::<u64>().unwrap()
}

#[test]
fn pages_are_given_back_and_can_be_read_again() {
    const NUMBERS: usize = 16 << 20;
    let ones: Vec<u8> = [0x80, 0x3f].repeat(NUMBERS); // 1.0 in bf16
    let shape = vec![NUMBERS / 4096, 4096];
    let file = safetensors(&[("w", Dtype::BF16, shape.clone(), ones)]);
    let folder = folder(&[("model.safetensors", file)]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let source = CheckpointWeights::new(&checkpoint);
    let device = Device::flex();
    let request = |precision| TensorRequest {
        name: "w",
        shape: &shape,
        role: Role::Matrix,
        precision,
        device: &device,
        packs: false,
    };

    let before = mapped();
    for _ in 0..2 {
        let wide = source.tensor(&request(Precision::F32)).unwrap();
        let values = wide.as_slice::<f32>().unwrap();
        assert_eq!(values.len(), NUMBERS);
        assert!(values.iter().all(|value| *value == 1.0));
        let grown = mapped().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} of {} bytes stayed", 2 * NUMBERS);
    }

    // What is held as it is stored stays a view, which fills with its first reading.
    let view = source.tensor(&request(Precision::AsStored)).unwrap();
    let sum: u64 = view.as_bytes().iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(sum, NUMBERS as u64 * (0x80 + 0x3f));
    assert!(mapped() - before > 16 << 20);
}
