//! The fixtures: small Q-Formers, and what `transformers` computes with them. Those of the BLIP-2
//! checkpoints are read where these are; `fixtures/qformer/make.py` made the others.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use blip2_io::{Checkpoint, CheckpointWeights};
use blip2_kernels::Weights;
use blip2_qformer::{Blip2QFormerConfig, QFormer, QFormerInput, QueryTokens};
use blip2_testing::{Goldens, difference, fixture, json, largest};
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
    goldens: Goldens,
    /// Whether it is a part of a whole BLIP-2 checkpoint.
    part: bool,
}

impl Fixture {
    pub(crate) fn open(name: &'static str) -> Self {
        let part = name.starts_with("blip2_");
        let folder = if part {
            name.into()
        } else {
            format!("qformer/{name}")
        };
        let mut config = json(&format!("{folder}/config.json"));
        if part {
            config = config["qformer_config"].take();
        }
        let goldens = match name {
            "blip2_itr" => "qformer/blip2_itr/golden.safetensors".into(),
            _ if part => format!("{folder}/golden.safetensors"),
            _ => format!("{folder}/model.safetensors"),
        };
        Self {
            name,
            config: serde_json::from_value(config).unwrap(),
            device: Device::flex(),
            checkpoint: Checkpoint::open(fixture(folder)).unwrap(),
            goldens: Goldens::open(fixture(goldens)),
            part,
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
        let mut unused = source.finish(&[]).unwrap().unused;
        if self.part {
            unused.retain(|name| name.starts_with("qformer."));
        }
        unused.retain(|name| !name.starts_with("golden."));
        assert_eq!(unused, Vec::<String>::new(), "{}", self.name);
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
        // Those of a whole checkpoint hold one case, of queries that look at the vision tower's output.
        let name = match (self.name, name) {
            ("blip2_itr", _) => format!("{case}.{name}"),
            (_, "image_embeds") if self.part => "vision.last_hidden_state".into(),
            _ if self.part => format!("qformer.{name}"),
            _ => format!("golden.{case}.{name}"),
        };
        Some(self.goldens.find(&name)?.tensor(&self.device))
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
