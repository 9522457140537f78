//! The fixtures: small Q-Formers, and what `transformers` computes with them
//! (`tests/fixtures/make.py`).
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::path::Path;

use blip2_io::{Checkpoint, CheckpointWeights};
use blip2_kernels::{Role, Weights};
use blip2_qformer::{Blip2QFormerConfig, QFormer, QFormerInput, QueryTokens};
use burn::tensor::{Bool, Device, Tensor};

/// The fixtures' names, each with its cases.
pub(crate) const FIXTURES: [(&str, &[&str]); 4] = [
    ("blip2_opt", &["queries"]),
    ("blip2_t5", &["queries"]),
    ("blip2_itr", &["both", "text"]),
    ("every_third", &["queries", "both", "text"]),
];

pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    pub(crate) config: Blip2QFormerConfig,
    pub(crate) device: Device,
    checkpoint: Checkpoint,
}

impl Fixture {
    pub(crate) fn open(name: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(name);
        let config = std::fs::read(folder.join("config.json")).unwrap();
        Self {
            name,
            config: serde_json::from_slice(&config).unwrap(),
            device: Device::flex(),
            checkpoint: Checkpoint::open(folder).unwrap(),
        }
    }

    /// The Q-Former and its queries, which must use every weight there is.
    pub(crate) fn model(&self) -> (QFormer, QueryTokens) {
        let source = CheckpointWeights::new(&self.checkpoint);
        let weights = Weights::new(&source, &self.device);
        let [_, count, hidden] = *self.checkpoint.shape("query_tokens").unwrap() else {
            unreachable!()
        };
        let queries = QueryTokens::load(count, hidden, &weights);
        let model = QFormer::load(&self.config, &weights.at("qformer")).unwrap();
        let unused = source.finish(&[]).unwrap().unused;
        let unused = unused.iter().filter(|name| !name.starts_with("golden."));
        assert_eq!(unused.count(), 0, "{}", self.name);
        (model, queries)
    }

    /// What the reference read in a case.
    pub(crate) fn input(&self, case: &str, queries: &QueryTokens) -> QFormerInput {
        let text: Option<Tensor<3>> = self.golden(case, "text_embeds");
        let image: Option<Tensor<3>> = self.golden(case, "image_embeds");
        let batch = text.as_ref().or(image.as_ref()).unwrap().dims()[0];
        let mut input = match (case, text) {
            ("text", Some(text)) => QFormerInput::text_only(text),
            (_, Some(text)) => QFormerInput::new(queries.expand(batch)).text(text),
            (_, None) => QFormerInput::new(queries.expand(batch)),
        };
        let mask = |name| -> Option<Tensor<2, Bool>> {
            Some(self.golden::<2>(case, name)?.greater_elem(0.5))
        };
        input.attention_mask = mask("attention_mask");
        input.encoder_hidden_states = image;
        input.encoder_attention_mask = mask("image_mask");
        input
    }

    /// A tensor that the reference read or gave in a case.
    pub(crate) fn golden<const D: usize>(&self, case: &str, name: &str) -> Option<Tensor<D>> {
        let name = format!("golden.{case}.{name}");
        let shape = self.checkpoint.shape(&name)?.try_into().unwrap();
        let source = CheckpointWeights::new(&self.checkpoint);
        let weights = Weights::new(&source, &self.device);
        Some(weights.param(&name, shape, Role::Dense).val())
    }

    /// Asserts that `found` is the golden `name`: within 1e-4, or within 1e-5 of the largest value
    /// if that is above 10.
    pub(crate) fn compare<const D: usize>(&self, case: &str, name: &str, found: Tensor<D>) {
        let golden = self.golden::<D>(case, name);
        let golden = golden.unwrap_or_else(|| panic!("{} {case}: no {name}", self.name));
        let scale = largest(golden.clone()).max(10.0) / 10.0;
        let error = difference(found, golden);
        eprintln!("{} {case} {name}: {error:.1e}", self.name);
        assert!(
            error <= 1e-4 * scale,
            "{} {case} {name}: {error}",
            self.name
        );
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
