//! The fixtures: small checkpoints of Granite Speech, and what `transformers` computes with their encoders.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

use blip2_audio::{
    CheckpointWeights, ConformerConfig, ConformerEncoder, ConformerOptions, Precision, Weights,
};
use blip2_io::Checkpoint;
use blip2_testing::{Goldens, difference, fixture, json, largest};
use burn::tensor::{Device, Tensor};

/// The fixtures' names.
pub(crate) const FIXTURES: [&str; 3] = [
    "granite_speech",
    "granite_speech_untied",
    "granite_speech_lora",
];

pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    pub(crate) config: ConformerConfig,
    pub(crate) device: Device,
    checkpoint: Checkpoint,
    goldens: Goldens,
}

impl Fixture {
    pub(crate) fn open(name: &'static str) -> Self {
        let mut config = json(&format!("{name}/config.json"));
        Self {
            name,
            config: serde_json::from_value(config["encoder_config"].take()).unwrap(),
            device: Device::flex(),
            goldens: Goldens::open(fixture(name).join("golden.safetensors")),
            checkpoint: Checkpoint::open(fixture(name)).unwrap(),
        }
    }

    /// The encoder, which must use every weight there is.
    pub(crate) fn encoder(&self, precision: Precision) -> ConformerEncoder {
        let source = CheckpointWeights::new(&self.checkpoint);
        let weights = Weights::new(&source, &self.device).with_precision(precision);
        let encoder = ConformerEncoder::load(&self.config, &weights.at("encoder")).unwrap();
        let mut unused = source.finish(&["num_batches_tracked"]).unwrap().unused;
        unused.retain(|name| name.starts_with("encoder."));
        assert_eq!(unused, Vec::<String>::new(), "{}", self.name);
        encoder
    }

    /// The last hidden state of features.
    pub(crate) fn encode(&self, encoder: &ConformerEncoder, features: Tensor<3>) -> Tensor<3> {
        let output = encoder.forward(features, &ConformerOptions::default());
        output.unwrap().last_hidden_state
    }

    /// A tensor that the reference read or gave.
    pub(crate) fn golden(&self, name: &str) -> Tensor<3> {
        self.goldens.get(name).tensor(&self.device)
    }

    pub(crate) fn input_features(&self) -> Tensor<3> {
        self.golden("input_features")
    }

    /// Asserts that `found` is the golden `name`: within 1e-5, or within 1e-6 of the largest value if that
    /// is above 10.
    pub(crate) fn compare(&self, name: &str, found: Tensor<3>) {
        let golden = self.golden(name);
        let scale = largest(golden.clone()).max(10.0) / 10.0;
        let error = difference(found, golden);
        eprintln!("{} {name}: {error:.1e}", self.name);
        assert!(error <= 1e-5 * scale, "{} {name}: {error}", self.name);
    }
}
