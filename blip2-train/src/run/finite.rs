//! Numbers that are none are noticed before they are written.

use std::collections::BTreeMap;

use burn::{module::Module, tensor::TensorData};

use super::steps::Run;
use crate::error::TrainError;

impl<M: Module> Run<'_, M> {
    /// Refuses parameters that are no numbers any more. The loss of the next step would tell it, but
    /// the last step has none, and a state or a model of such numbers is good for nothing.
    pub(super) fn check_finite(&self) -> Result<(), TrainError> {
        let averages = self.average.as_ref();
        let averages = averages.filter(|average| !average.is_empty());
        let averages = averages.map(|average| average.values(&self.trained));
        let found = spoilt(&self.trained.values()).or_else(|| averages.as_ref().and_then(spoilt));
        let Some((name, value)) = found else {
            return Ok(());
        };
        let step = self.optimizer.steps();
        Err(TrainError::NotFinite {
            what: format!("a number of `{name}`"),
            value,
            step,
            lr: Some(self.rate(step.saturating_sub(1))),
        })
    }
}

/// The first number that is none, with its parameter's name.
fn spoilt(values: &BTreeMap<String, TensorData>) -> Option<(String, f32)> {
    values.iter().find_map(|(name, data)| {
        let bad = data.iter::<f32>().find(|value| !value.is_finite())?;
        Some((name.clone(), bad))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_is_none_is_named() {
        let set = |value: f32| {
            let rows = [("a", 1.0), ("b", value)];
            let rows = rows.map(|(name, value)| (name.to_string(), TensorData::from([0.5, value])));
            BTreeMap::from(rows)
        };
        assert_eq!(spoilt(&set(f32::MAX)), None);
        let found = spoilt(&set(f32::NEG_INFINITY));
        assert_eq!(found, Some(("b".into(), f32::NEG_INFINITY)));
        assert!(spoilt(&set(f32::NAN)).is_some());
    }
}
