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
    /// The adapter of the layer whose matrix has this name, `A` and `B`.
    fn adapter(&self, name: &str) -> Option<(&TensorData, &TensorData)> {
        let layer = name.strip_suffix(".weight")?;
        let part = |part: &str| self.values.get(&format!("{layer}.{part}.weight"));
        Some((part("lora_A")?, part("lora_B")?))
    }
}

impl Changes for TrainedValues<'_> {
    fn of(&self, name: &str) -> Change {
        match (self.values.get(name), self.adapter(name)) {
            (Some(_), _) => Change::Trained,
            (None, Some(_)) => Change::Merged,
            (None, None) => Change::None,
        }
    }

    /// `W + scale · B · A` where the layer is adapted; with DoRA's lengths in the place of its rows' own.
    fn numbers(&self, name: &str, own: &dyn Fn() -> Option<TensorData>) -> Option<TensorData> {
        let own = match self.values.get(name) {
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

    /// A model trains a table under all of its names.
    fn is_of_copies(&self) -> bool {
        true
    }
}
