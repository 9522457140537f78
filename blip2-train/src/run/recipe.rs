//! How a training goes.

use std::path::PathBuf;

use crate::{Schedule, TrainError};

/// How a training goes: how long, how fast, what is kept.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// How many steps are made.
    pub steps: usize,
    /// The learning rate of each.
    pub schedule: Schedule,
    /// How many batches make a step. Default 1.
    pub accumulate: usize,
    /// The largest norm of all gradients together. Default 1.
    pub clip: Option<f64>,
    /// The decay of an exponential moving average of what is trained, which is then evaluated and
    /// kept. Default none.
    pub ema: Option<f64>,
    /// Whether the insides of the image encoder's and the language model's layers are computed again
    /// for their gradients instead of being remembered: less memory, more time (gradient
    /// checkpointing). Default no.
    pub recompute: bool,
    /// Every how many steps the model is evaluated; 0 is at the end only, as by default.
    pub evaluate_every: usize,
    /// After how many evaluations without a better score the training ends. Default never.
    pub patience: Option<usize>,
    /// Where states are saved to go on from. Default nowhere.
    pub states: Option<PathBuf>,
    /// Every how many steps a state is saved; 0 is at the end only. Default 200.
    pub save_every: usize,
    /// What random numbers follow from, beside those of the data. Default 0.
    pub seed: u64,
}

impl Recipe {
    /// So many steps of this schedule, with gradients clipped to a norm of 1.
    pub fn new(steps: usize, schedule: Schedule) -> Self {
        Self {
            steps,
            schedule,
            accumulate: 1,
            clip: Some(1.0),
            ema: None,
            recompute: false,
            evaluate_every: 0,
            patience: None,
            states: None,
            save_every: 200,
            seed: 0,
        }
    }

    pub(super) fn validate(&self) -> Result<(), TrainError> {
        let positive = "must be at least 1";
        if self.accumulate == 0 {
            return Err(TrainError::argument("accumulate", 0, positive));
        }
        if self.patience == Some(0) {
            return Err(TrainError::argument("patience", 0, positive));
        }
        if let Some(clip) = self.clip.filter(|clip| clip.is_nan() || *clip <= 0.0) {
            return Err(TrainError::argument("clip", clip, "must be above 0"));
        }
        if let Some(ema) = self.ema.filter(|ema| !(0.0..1.0).contains(ema)) {
            return Err(TrainError::argument(
                "ema",
                ema,
                "must be at least 0 and below 1",
            ));
        }
        Ok(())
    }
}
