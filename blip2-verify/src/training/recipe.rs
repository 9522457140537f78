//! How the goldens were trained.

use serde_json::Value;

use crate::{error::VerifyError, golden::Golden};

/// What the golden says of its training.
#[derive(Debug)]
pub(super) struct Recipe {
    /// Before each step, and after the last.
    pub(super) losses: Vec<f64>,
    /// The same by the reference in 64 bits.
    pub(super) exact_losses: Vec<f64>,
    /// Of each step.
    pub(super) norms: Vec<f64>,
    pub(super) lr: f64,
    pub(super) betas: [f64; 2],
    pub(super) eps: f64,
    pub(super) weight_decay: f64,
    /// What is said of it, if that is more than nothing.
    pub(super) smoothing: f64,
}

impl Recipe {
    pub(super) fn of(golden: &Golden) -> Result<Self, VerifyError> {
        let [beta1, beta2] = numbers(golden, "betas")?[..] else {
            return Err(VerifyError::golden("`betas` are no two numbers"));
        };
        Ok(Self {
            losses: numbers(golden, "losses")?,
            exact_losses: numbers(golden, "losses_f64")?,
            norms: numbers(golden, "grad_norms")?,
            lr: number(golden, "lr")?,
            betas: [beta1, beta2],
            // PyTorch's own.
            eps: number(golden, "eps").unwrap_or(1e-8),
            weight_decay: number(golden, "weight_decay")?,
            smoothing: number(golden, "label_smoothing").unwrap_or_default(),
        })
    }
}

fn number(golden: &Golden, key: &str) -> Result<f64, VerifyError> {
    let value = golden.json(key).and_then(Value::as_f64);
    value.ok_or_else(|| VerifyError::golden(format!("`{key}` is no number")))
}

fn numbers(golden: &Golden, key: &str) -> Result<Vec<f64>, VerifyError> {
    let values = golden.json(key).and_then(Value::as_array);
    let numbers = values.and_then(|values| values.iter().map(Value::as_f64).collect());
    numbers.ok_or_else(|| VerifyError::golden(format!("`{key}` is no list of numbers")))
}
