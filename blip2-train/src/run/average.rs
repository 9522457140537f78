//! An exponential moving average of what is trained.

use std::collections::BTreeMap;

use burn::{module::Module, tensor::TensorData};

use crate::trained::Trained;

/// An exponential moving average of trained parameters: after each step it is
/// `decay` times itself and `1 - decay` times the parameters. At the beginning, where it knows little,
/// the decay is `(1 + steps) / (10 + steps)`, if that is smaller, as in TensorFlow.
#[derive(Debug, Clone)]
pub struct Average {
    decay: f64,
    steps: usize,
    values: BTreeMap<String, Vec<f32>>,
}

impl Average {
    /// An average that has seen nothing.
    pub fn new(decay: f64) -> Self {
        Self {
            decay,
            steps: 0,
            values: BTreeMap::new(),
        }
    }

    /// Takes the parameters in as they are now.
    pub fn update<M: Module>(&mut self, trained: &Trained<M>) {
        let steps = self.steps as f64;
        let decay = self.decay.min((1.0 + steps) / (10.0 + steps)) as f32;
        self.steps += 1;
        for (name, data) in trained.values() {
            let now = data.iter::<f32>();
            match self.values.get_mut(&name) {
                Some(own) => {
                    for (own, now) in own.iter_mut().zip(now) {
                        *own = decay * *own + (1.0 - decay) * now;
                    }
                }
                None => {
                    self.values.insert(name, now.collect());
                }
            }
        }
    }

    /// Whether it has seen nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The averages, in the shapes of a checkpoint.
    pub fn values<M: Module>(&self, trained: &Trained<M>) -> BTreeMap<String, TensorData> {
        let mut values = trained.values();
        for (name, data) in &mut values {
            if let Some(own) = self.values.get(name) {
                let shape = data.shape().to_vec();
                *data = TensorData::new(own.clone(), shape);
            }
        }
        values
    }

    /// Goes on from averages that were saved after `steps` steps.
    pub(super) fn restore(&mut self, values: BTreeMap<String, TensorData>, steps: usize) {
        let rows = values
            .into_iter()
            .map(|(name, data)| (name, data.iter::<f32>().collect()));
        self.values = rows.collect();
        self.steps = steps;
    }
}
