//! Small checkpoints with what `transformers` computes: the language models of the BLIP-2
//! checkpoints in `fixtures/`, and those that `fixtures/lm/make_model_goldens.py` made.
#![allow(dead_code)] // each test file uses its own part

use std::path::PathBuf;

use blip2_io::{Checkpoint, CheckpointWeights, config::TextConfig};
use blip2_kernels::Weights;
use blip2_lm::{LanguageModel, Session};
use blip2_testing::{Golden, Goldens, fixture, floats, json};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

/// A checkpoint and its goldens.
pub(crate) struct Fixture {
    name: String,
    /// Where configuration, weights and goldens are.
    folder: PathBuf,
    /// What the names of the language model's weights begin with.
    prefix: Option<&'static str>,
    pub(crate) device: Device,
    pub(crate) config: TextConfig,
    goldens: Goldens,
}

impl Fixture {
    pub(crate) fn open(name: &str) -> Self {
        // Of a BLIP-2 checkpoint it is a part.
        let part = name.starts_with("blip2_");
        let folder = if part {
            name.into()
        } else {
            format!("lm/{name}")
        };
        let mut config = json(&format!("{folder}/config.json"));
        if part {
            config = config["text_config"].take();
        }
        let folder = fixture(folder);
        Self {
            name: name.into(),
            prefix: part.then_some("language_model"),
            device: Device::flex(),
            config: serde_json::from_value(config).unwrap(),
            goldens: Goldens::open(folder.join("golden.safetensors")),
            folder,
        }
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint::open(&self.folder).unwrap()
    }

    /// The model, which asks for exactly the tensors that the checkpoint holds.
    pub(crate) fn model(&self) -> LanguageModel {
        let checkpoint = self.checkpoint();
        let source = CheckpointWeights::new(&checkpoint);
        let mut weights = Weights::new(&source, &self.device);
        if let Some(prefix) = self.prefix {
            weights = weights.at(prefix);
        }
        let model = LanguageModel::load(&self.config, &weights).unwrap();
        let mut unused = source.finish(&[]).unwrap().unused;
        unused.retain(|name| name.starts_with(self.prefix.unwrap_or_default()));
        assert_eq!(unused, Vec::<String>::new(), "{}", self.name);
        model
    }

    pub(crate) fn golden(&self, key: &str) -> &Golden {
        self.goldens.get(key)
    }

    /// The goldens `key.0`, `key.1` and so on.
    pub(crate) fn series(&self, key: &str) -> Vec<&Golden> {
        self.goldens.series(key)
    }

    pub(crate) fn ids(&self, key: &str) -> Vec<Vec<u32>> {
        self.golden(key).rows(|value| value as u32)
    }

    pub(crate) fn mask(&self) -> Vec<Vec<bool>> {
        self.golden("attention_mask").rows(|value| value != 0.0)
    }

    /// The cases of generation.
    pub(crate) fn json(&self) -> Value {
        json(&format!("lm/{}/golden.json", self.name))
    }

    /// What lengths and penalties count: the prompt, or the token that answers start from.
    pub(crate) fn histories(&self, prompts: &[Vec<u32>]) -> Vec<Vec<u32>> {
        match self.config.decoder_start_token_id() {
            Some(start) => vec![vec![start]; prompts.len()],
            None => prompts.to_vec(),
        }
    }

    pub(crate) fn start<'m>(
        &self,
        model: &'m LanguageModel,
        embeds: Tensor<3>,
        mask: &[Vec<bool>],
        new_tokens: usize,
    ) -> Session<&'m LanguageModel> {
        let start = self.config.decoder_start_token_id();
        model.start(embeds, mask, start, new_tokens).unwrap()
    }
}

/// The largest difference, as a share of the largest that may be: `tolerance`, times a tenth of
/// the golden's largest value where that is above 10.
///
/// With a mask, what a padding position computes is left out: the positions are the axis before
/// the last, of `[batch, seq, width]` and of `[batch, heads, queries, keys]`.
pub(crate) fn share<const D: usize>(
    found: Tensor<D>,
    golden: &Golden,
    tolerance: f32,
    mask: Option<&[Vec<bool>]>,
) -> f32 {
    assert_eq!(found.dims().to_vec(), golden.shape);
    let (positions, width) = (golden.shape[D - 2], golden.shape[D - 1]);
    let row_size: usize = golden.shape[1..].iter().product();
    let counts =
        |index: usize| mask.is_none_or(|mask| mask[index / row_size][index / width % positions]);
    let found = floats(found);
    let counted = || (0..found.len()).filter(|&index| counts(index));
    let largest = counted().map(|index| golden.values[index].abs());
    let scale = (largest.fold(0.0, f32::max) / 10.0).max(1.0);
    let differences = counted().map(|index| (found[index] - golden.values[index]).abs());
    let largest = differences.fold(0.0, |largest, difference| {
        // Not `max`, which forgets NaN.
        if difference <= largest {
            largest
        } else {
            difference
        }
    });
    largest / (tolerance * scale)
}
