//! What training changed of a checkpoint.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::merged::{Change, Changes};
use crate::lora::Chosen;

/// What training made.
#[derive(Clone, Copy)]
pub(crate) struct TrainedValues<'v> {
    /// Parameters, adapters among them, by name.
    pub(crate) values: &'v BTreeMap<String, TensorData>,
    /// What adapters are, if there are any.
    pub(crate) lora: Option<&'v Chosen>,
}

impl TrainedValues<'_> {
    /// The trained numbers of this name, or of what it is a copy of.
    fn value(&self, name: &str) -> Option<&TensorData> {
        let own = self.values.get(name);
        own.or_else(|| self.values.get(&original(name)?))
    }

    /// The adapter of the layer whose matrix has this name, `A` and `B`.
    fn adapter(&self, name: &str) -> Option<(&TensorData, &TensorData)> {
        let layer = name.strip_suffix(".weight")?;
        let part = |part: &str| self.values.get(&format!("{layer}.{part}.weight"));
        Some((part("lora_A")?, part("lora_B")?))
    }
}

impl Changes for TrainedValues<'_> {
    fn of(&self, name: &str) -> Change {
        match (self.value(name), self.adapter(name)) {
            (Some(_), _) => Change::Trained,
            (None, Some(_)) => Change::Merged,
            (None, None) => Change::None,
        }
    }

    /// `W + scale · B · A` where the layer is adapted; with DoRA's lengths in the place of its rows' own.
    fn numbers(&self, name: &str, own: &dyn Fn() -> Option<TensorData>) -> Option<TensorData> {
        let own = match self.value(name) {
            Some(data) => data.clone(),
            None => own()?,
        };
        let (Some((a, b)), Some(lora)) = (self.adapter(name), self.lora) else {
            return Some(own);
        };
        let layer = name.strip_suffix(".weight")?;
        let device = Device::flex();
        let tensor = |data: TensorData| Tensor::<2>::from_data(data, (&device, DType::F32));
        let own = tensor(own.convert_dtype(DType::F32));
        let change = tensor(b.clone()).matmul(tensor(a.clone())) * lora.scale(layer);
        let sum = own + change;
        let lengths = self.values.get(&format!("{layer}.lora_magnitude_vector"));
        let Some(lengths) = lengths else {
            return Some(sum.into_data());
        };
        let lengths = Tensor::<1>::from_data(lengths.clone(), (&device, DType::F32));
        let norms = sum.clone().square().sum_dim(1).sqrt();
        let scaled = sum * (lengths.reshape([-1, 1]) / norms);
        Some(scaled.into_data())
    }

    /// The first stage's head.
    fn more(&self) -> Vec<(&str, &[usize])> {
        let own = self.values.iter();
        let own = own.filter(|(name, _)| !name.contains(".lora_"));
        own.map(|(name, data)| (name.as_str(), data.shape().as_slice()))
            .collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_trained_table_is_trained() {
        let name = |name: &str| format!("text_decoder.{name}");
        let words = TensorData::from([1f32, 2.0]);
        let table = name("bert.embeddings.word_embeddings.weight");
        let values = BTreeMap::from([(table, words.clone())]);
        let trained = TrainedValues {
            values: &values,
            lora: None,
        };
        let found = trained.value(&name("cls.predictions.decoder.weight"));
        assert_eq!(found, Some(&words));
        assert_eq!(trained.value(&name("cls.predictions.decoder.bias")), None);
        assert_eq!(trained.value("lm_head.weight"), None);
    }
}
