//! The tensors of a checkpoint after training, adapters merged into their layers.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use blip2_core::Checkpoint;
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::{Dtype, View};

/// What training made.
#[derive(Clone, Copy)]
pub(crate) struct TrainedValues<'v> {
    /// Parameters, adapters among them, by name.
    pub(crate) values: &'v BTreeMap<String, TensorData>,
    /// What the product of an adapter's matrices is multiplied by.
    pub(crate) lora_scale: f64,
}

/// All tensors that are written: those of the checkpoint, and what it did not have, which is the first
/// stage's head.
pub(super) fn tensors<'s>(
    base: &'s Checkpoint,
    trained: TrainedValues<'s>,
) -> Vec<(String, Merged<'s>)> {
    let merged = |name: &str, shape: &[usize], dtype| {
        let merged = Merged {
            base,
            trained,
            name: name.to_string(),
            shape: shape.to_vec(),
            dtype,
        };
        (name.to_string(), merged)
    };
    let mut all = Vec::new();
    for name in base.names() {
        let Some(shape) = base.shape(name) else {
            continue;
        };
        let changed = value(name, trained).is_some() || adapter(name, trained).is_some();
        let dtype = match changed {
            true => Dtype::F32,
            false => stored(base.dtype(name)),
        };
        all.push(merged(name, shape, dtype));
    }
    let known: BTreeSet<&str> = base.names().collect();
    let new = trained.values.iter().filter(|(name, _)| {
        let adapts = name.contains(".lora_");
        !known.contains(name.as_str()) && !adapts
    });
    all.extend(new.map(|(name, data)| merged(name, data.shape().as_slice(), Dtype::F32)));
    all
}

/// The format of a tensor that is written as it was.
fn stored(dtype: Option<DType>) -> Dtype {
    match dtype {
        Some(DType::F64) => Dtype::F64,
        Some(DType::F16) => Dtype::F16,
        Some(DType::BF16) => Dtype::BF16,
        Some(DType::I64) => Dtype::I64,
        Some(DType::I32) => Dtype::I32,
        Some(DType::U8) => Dtype::U8,
        Some(DType::Bool(_)) => Dtype::BOOL,
        _ => Dtype::F32,
    }
}

/// A tensor of a model that is saved. It is read and merged when it is written: a checkpoint is never
/// in memory as a whole.
pub(super) struct Merged<'s> {
    base: &'s Checkpoint,
    trained: TrainedValues<'s>,
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl Merged<'_> {
    /// Its numbers after training: `W + scale · B · A` where the layer is adapted.
    fn numbers(&self) -> Option<TensorData> {
        let own = match value(&self.name, self.trained) {
            Some(data) => data.clone(),
            None => self.base.tensor(&self.name)?,
        };
        let Some((a, b)) = adapter(&self.name, self.trained) else {
            return Some(own);
        };
        let device = Device::flex();
        let tensor = |data: TensorData| Tensor::<2>::from_data(data, (&device, DType::F32));
        let own = tensor(own.convert_dtype(DType::F32));
        let change = tensor(b.clone()).matmul(tensor(a.clone())) * self.trained.lora_scale;
        Some((own + change).into_data())
    }
}

/// The trained numbers of this name, or of what it is a copy of.
fn value<'v>(name: &str, trained: TrainedValues<'v>) -> Option<&'v TensorData> {
    let own = trained.values.get(name);
    own.or_else(|| trained.values.get(&original(name)?))
}

/// What a tensor is a copy of that some checkpoints hold twice: the head of BLIP-1's decoder is its table
/// of words. An old copy beside a trained table would be read as a head of its own.
fn original(name: &str) -> Option<String> {
    let (model, copied) = name.split_once("cls.predictions.decoder.")?;
    match copied {
        "weight" => Some(format!("{model}bert.embeddings.word_embeddings.weight")),
        "bias" => Some(format!("{model}cls.predictions.bias")),
        _ => None,
    }
}

/// The adapter of the layer whose matrix has this name, `A` and `B`.
fn adapter<'v>(name: &str, trained: TrainedValues<'v>) -> Option<(&'v TensorData, &'v TensorData)> {
    let layer = name.strip_suffix(".weight")?;
    let part = |part: &str| trained.values.get(&format!("{layer}.{part}.weight"));
    Some((part("lora_A")?, part("lora_B")?))
}

impl View for Merged<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.numbers() {
            Some(data) => Cow::Owned(data.as_bytes().to_vec()),
            // Asked for by a name of the checkpoint's own list.
            None => Cow::Owned(vec![0; self.data_len()]),
        }
    }

    fn data_len(&self) -> usize {
        let width = match self.dtype {
            Dtype::F64 | Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::U8 | Dtype::BOOL => 1,
            _ => 2,
        };
        self.shape.iter().product::<usize>() * width
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::TensorData;

    use super::{TrainedValues, value};

    #[test]
    fn a_copy_of_a_trained_table_is_trained() {
        let name = |name: &str| format!("text_decoder.{name}");
        let words = TensorData::from([1f32, 2.0]);
        let table = name("bert.embeddings.word_embeddings.weight");
        let values = BTreeMap::from([(table, words.clone())]);
        let trained = TrainedValues {
            values: &values,
            lora_scale: 0.0,
        };
        let found = value(&name("cls.predictions.decoder.weight"), trained);
        assert_eq!(found, Some(&words));
        assert_eq!(value(&name("cls.predictions.decoder.bias"), trained), None);
        assert_eq!(value("lm_head.weight", trained), None);
    }
}
