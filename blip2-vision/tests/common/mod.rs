//! The fixtures: small towers, and what `transformers` computes with them. Those of the BLIP-2
//! checkpoints are read where these are; `fixtures/vision/make.py` made the others.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

use blip2_io::{Checkpoint, CheckpointWeights};
use blip2_kernels::Weights;
use blip2_testing::{Goldens, difference, fixture, json, largest};
use blip2_vision::{Blip2VisionConfig, VisionModel};
use burn::tensor::{Device, Tensor};
use serde::de::DeserializeOwned;

/// The fixtures' names.
pub(crate) const FIXTURES: [&str; 5] = [
    "blip2_opt",
    "blip2_t5",
    "blip2_itr",
    "no_qkv_bias",
    "patch_14",
];

/// The fixtures of CLIP's tower (`fixtures/vision/make_clip.py`).
pub(crate) const CLIP_FIXTURES: [&str; 2] = ["clip_projected", "clip_plain"];

pub(crate) struct Fixture<C = Blip2VisionConfig> {
    pub(crate) name: &'static str,
    pub(crate) config: C,
    pub(crate) device: Device,
    checkpoint: Checkpoint,
    goldens: Goldens,
    /// Whether it is a part of a whole BLIP-2 checkpoint.
    part: bool,
}

impl Fixture {
    pub(crate) fn open(name: &'static str) -> Self {
        Self::open_as(name)
    }

    /// The tower, which must use every weight there is.
    pub(crate) fn model(&self) -> VisionModel {
        self.load(|config, weights| VisionModel::load(config, &weights.at("vision_model")).unwrap())
    }
}

impl<C: DeserializeOwned> Fixture<C> {
    pub(crate) fn open_as(name: &'static str) -> Self {
        let part = name.starts_with("blip2_");
        let folder = if part {
            name.into()
        } else {
            format!("vision/{name}")
        };
        let mut config = json(&format!("{folder}/config.json"));
        if part {
            config = config["vision_config"].take();
        }
        let folder = fixture(folder);
        let goldens = if part {
            "golden.safetensors"
        } else {
            "model.safetensors"
        };
        Self {
            name,
            config: serde_json::from_value(config).unwrap(),
            device: Device::flex(),
            goldens: Goldens::open(folder.join(goldens)),
            checkpoint: Checkpoint::open(folder).unwrap(),
            part,
        }
    }

    /// What `load` builds, which must use every weight there is.
    pub(crate) fn load<M>(&self, load: impl Fn(&C, &Weights<'_>) -> M) -> M {
        let source = CheckpointWeights::new(&self.checkpoint);
        let model = load(&self.config, &Weights::new(&source, &self.device));
        let mut unused = source.finish(&[]).unwrap().unused;
        if self.part {
            unused.retain(|name| name.starts_with("vision_model."));
        }
        unused.retain(|name| !name.starts_with("golden."));
        assert_eq!(unused, Vec::<String>::new(), "{}", self.name);
        model
    }

    /// A tensor that the reference read or gave.
    pub(crate) fn golden<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        // The goldens of a whole checkpoint interpolate one size alone.
        let name = match (self.part, name) {
            (true, "pixel_values") => name.into(),
            (true, _) => format!("vision.{}", name.replace("interp.0.", "interp.")),
            (false, _) => format!("golden.{name}"),
        };
        Some(self.goldens.find(&name)?.tensor(&self.device))
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
