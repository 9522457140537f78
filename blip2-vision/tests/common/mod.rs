//! The fixtures: small towers, and what `transformers` computes with them
//! (`tests/fixtures/make.py`).
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

use std::path::Path;

use blip2_io::{Checkpoint, CheckpointWeights};
use blip2_kernels::{Role, Weights};
use blip2_vision::{Blip2VisionConfig, VisionModel};
use burn::tensor::{Device, Tensor};

/// The fixtures' names.
pub(crate) const FIXTURES: [&str; 5] = [
    "blip2_opt",
    "blip2_t5",
    "blip2_itr",
    "no_qkv_bias",
    "patch_14",
];

/// The fixtures of CLIP's tower (`tests/fixtures/make_clip.py`).
pub(crate) const CLIP_FIXTURES: [&str; 2] = ["clip_projected", "clip_plain"];

pub(crate) struct Fixture<C = Blip2VisionConfig> {
    pub(crate) name: &'static str,
    pub(crate) config: C,
    pub(crate) device: Device,
    checkpoint: Checkpoint,
}

impl Fixture {
    pub(crate) fn open(name: &'static str) -> Self {
        Self::open_as(name, |config| serde_json::from_slice(config).unwrap())
    }

    /// The tower, which must use every weight there is.
    pub(crate) fn model(&self) -> VisionModel {
        self.load(|config, weights| VisionModel::load(config, &weights.at("vision_model")).unwrap())
    }
}

impl<C> Fixture<C> {
    pub(crate) fn open_as(name: &'static str, parse: impl Fn(&[u8]) -> C) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(name);
        let config = std::fs::read(folder.join("config.json")).unwrap();
        Self {
            name,
            config: parse(&config),
            device: Device::flex(),
            checkpoint: Checkpoint::open(folder).unwrap(),
        }
    }

    /// What `load` builds, which must use every weight there is.
    pub(crate) fn load<M>(&self, load: impl Fn(&C, &Weights<'_>) -> M) -> M {
        let source = CheckpointWeights::new(&self.checkpoint);
        let model = load(&self.config, &Weights::new(&source, &self.device));
        let unused = source.finish(&[]).unwrap().unused;
        let unused = unused.iter().filter(|name| !name.starts_with("golden."));
        assert_eq!(unused.count(), 0, "{}", self.name);
        model
    }

    /// A tensor that the reference read or gave.
    pub(crate) fn golden<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        let name = format!("golden.{name}");
        let shape = self.checkpoint.shape(&name)?.try_into().unwrap();
        let source = CheckpointWeights::new(&self.checkpoint);
        let weights = Weights::new(&source, &self.device);
        Some(weights.param(&name, shape, Role::Dense).val())
    }

    pub(crate) fn pixel_values(&self) -> Tensor<4> {
        self.golden("pixel_values").unwrap()
    }

    /// Asserts that `found` is the golden `name`, where there is one: within 1e-4, or within 1e-5
    /// of the largest value if that is above 10.
    pub(crate) fn compare<const D: usize>(&self, name: &str, found: Tensor<D>) -> bool {
        let Some(golden) = self.golden::<D>(name) else {
            return false;
        };
        let scale = largest(golden.clone()).max(10.0) / 10.0;
        let error = difference(found, golden);
        eprintln!("{} {name}: {error:.1e}", self.name);
        assert!(error <= 1e-4 * scale, "{} {name}: {error}", self.name);
        true
    }
}

pub(crate) fn largest<const D: usize>(x: Tensor<D>) -> f32 {
    x.abs().max().into_scalar()
}

/// The largest absolute difference.
pub(crate) fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    largest(a - b)
}
