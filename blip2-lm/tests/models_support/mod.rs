//! Small checkpoints with what `transformers` computes: `tests/fixtures/make_model_goldens.py`.
#![allow(dead_code)] // each test file uses its own part

use std::{collections::BTreeMap, path::PathBuf};

use blip2_io::{Checkpoint, CheckpointWeights, config::TextConfig};
use blip2_kernels::Weights;
use blip2_lm::{LanguageModel, Session};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

/// A checkpoint and its goldens.
pub(crate) struct Fixture {
    name: String,
    folder: PathBuf,
    pub(crate) device: Device,
    pub(crate) config: TextConfig,
    goldens: BTreeMap<String, Golden>,
}

/// A golden tensor; ids and masks are whole numbers in it.
#[derive(Clone)]
pub(crate) struct Golden {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Fixture {
    pub(crate) fn open(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/models")
            .join(name);
        let read = |file| std::fs::read(folder.join(file)).unwrap();
        let goldens = read("golden.safetensors");
        let goldens = SafeTensors::deserialize(&goldens)
            .unwrap()
            .iter()
            .map(|(key, view)| (key.to_string(), Golden::new(&view)))
            .collect();
        Self {
            name: name.into(),
            device: Device::flex(),
            config: serde_json::from_slice(&read("config.json")).unwrap(),
            goldens,
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
        let model =
            LanguageModel::load(&self.config, &Weights::new(&source, &self.device)).unwrap();
        let report = source.finish(&[]).unwrap();
        assert_eq!(report.unused, Vec::<String>::new(), "{}", self.name);
        model
    }

    pub(crate) fn golden(&self, key: &str) -> &Golden {
        let known = || format!("{} has no {key}", self.name);
        self.goldens
            .get(key)
            .unwrap_or_else(|| panic!("{}", known()))
    }

    /// The goldens `key.0`, `key.1` and so on.
    pub(crate) fn series(&self, key: &str) -> Vec<&Golden> {
        let series: Vec<&Golden> = (0..)
            .map_while(|n| self.goldens.get(&format!("{key}.{n}")))
            .collect();
        assert!(!series.is_empty(), "{} has no {key}", self.name);
        series
    }

    pub(crate) fn ids(&self, key: &str) -> Vec<Vec<u32>> {
        self.golden(key).rows(|value| value as u32)
    }

    pub(crate) fn mask(&self) -> Vec<Vec<bool>> {
        self.golden("attention_mask").rows(|value| value != 0.0)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.folder.join("golden.json")).unwrap()).unwrap()
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

impl Golden {
    fn new(view: &safetensors::tensor::TensorView<'_>) -> Self {
        let values = match view.dtype() {
            Dtype::F32 => view
                .data()
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect(),
            Dtype::I64 => view
                .data()
                .chunks_exact(8)
                .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f32)
                .collect(),
            other => panic!("{other:?}"),
        };
        Self {
            shape: view.shape().to_vec(),
            values,
        }
    }

    pub(crate) fn rows<T>(&self, convert: impl Fn(f32) -> T) -> Vec<Vec<T>> {
        let convert = |row: &[f32]| row.iter().map(|&value| convert(value)).collect();
        self.values
            .chunks_exact(*self.shape.last().unwrap())
            .map(convert)
            .collect()
    }

    pub(crate) fn tensor(&self, device: &Device) -> Tensor<3> {
        let data = TensorData::new(self.values.clone(), self.shape.clone());
        Tensor::from_data(data, device)
    }
}

pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
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

/// Fails where two lists of numbers differ by more than `tolerance`; returns by how much they do.
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) -> f32 {
    assert_eq!(found.len(), expected.len(), "{what}");
    let pairs = found.iter().zip(expected);
    let mut worst = 0.0;
    for (place, (found, expected)) in pairs.enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= tolerance,
            "{what}: {found} instead of {expected} at {place}"
        );
        worst = f32::max(worst, difference);
    }
    worst
}
