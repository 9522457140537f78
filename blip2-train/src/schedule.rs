//! How the learning rate changes.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// A learning rate for each step.
///
/// ```
/// use blip2_train::{Schedule, WarmupCosine};
///
/// let schedule = Schedule::from(WarmupCosine::new(1e-4, 10_000).with_warmup(500).with_min(1e-5));
/// assert_eq!(schedule.at(500), 1e-4);
/// assert_eq!(schedule.at(10_000), 1e-5);
/// assert_eq!(Schedule::constant(1e-3).at(7), 1e-3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Schedule {
    /// Always the same.
    Constant(Constant),
    /// Warm-up, then half a cosine down (the recipe of BLIP-2).
    WarmupCosine(WarmupCosine),
    /// Multiplied by a factor every few steps.
    Exponential(Exponential),
}

/// The same learning rate at every step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Constant {
    /// The learning rate.
    pub lr: f64,
}

/// Linear from `start` to `lr` over `warmup` steps, then half a cosine down to `min` at `steps`, and
/// `min` from there on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WarmupCosine {
    /// The learning rate of the first step. Default 0.
    #[serde(default)]
    pub start: f64,
    /// The highest learning rate.
    pub lr: f64,
    /// The last learning rate. Default 0.
    #[serde(default)]
    pub min: f64,
    /// How many steps the warm-up takes. Default 0.
    #[serde(default)]
    pub warmup: usize,
    /// All steps together.
    pub steps: usize,
}

/// Multiplied by `gamma` every `every` steps, such as those of an epoch.
///
/// ```
/// use blip2_train::{Exponential, Schedule};
///
/// let schedule = Schedule::from(Exponential::new(1e-3, 0.5, 100));
/// assert_eq!([0, 99, 100].map(|step| schedule.at(step)), [1e-3, 1e-3, 5e-4]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Exponential {
    /// The first learning rate.
    pub lr: f64,
    /// The factor.
    pub gamma: f64,
    /// How many steps have the same learning rate.
    pub every: usize,
}

impl Schedule {
    /// The same learning rate at every step.
    pub fn constant(lr: f64) -> Self {
        Self::Constant(Constant { lr })
    }

    /// The learning rate of a step, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(constant) => constant.lr,
            Self::WarmupCosine(cosine) => cosine.at(step),
            Self::Exponential(exponential) => exponential.at(step),
        }
    }
}

impl Schedule {
    /// Refuses rates that are no rates, and a warm-up that never ends.
    pub(crate) fn validate(&self) -> Result<(), TrainError> {
        match self {
            Self::Constant(constant) => check_rate("lr", constant.lr),
            Self::WarmupCosine(cosine) => cosine.validate(),
            Self::Exponential(exponential) => {
                check_rate("lr", exponential.lr)?;
                check_rate("gamma", exponential.gamma)
            }
        }
    }
}

fn check_rate(argument: &'static str, rate: f64) -> Result<(), TrainError> {
    match rate >= 0.0 && rate.is_finite() {
        true => Ok(()),
        false => {
            let reason = "must be at least 0, and finite";
            Err(TrainError::argument(argument, rate, reason))
        }
    }
}

impl WarmupCosine {
    fn validate(&self) -> Result<(), TrainError> {
        check_rate("start", self.start)?;
        check_rate("lr", self.lr)?;
        check_rate("min", self.min)?;
        if self.min > self.lr {
            let reason = format!("must be at most lr, which is {}", self.lr);
            return Err(TrainError::argument("min", self.min, reason));
        }
        if self.warmup > 0 && self.warmup >= self.steps {
            let reason = format!(
                "never ends: there are {} steps, and the learning rate would only rise; take fewer, \
                 or a part of the steps",
                self.steps
            );
            return Err(TrainError::argument("warmup", self.warmup, reason));
        }
        Ok(())
    }

    /// A cosine from `lr` down to 0 at `steps`, without warm-up.
    pub fn new(lr: f64, steps: usize) -> Self {
        Self {
            start: 0.0,
            lr,
            min: 0.0,
            warmup: 0,
            steps,
        }
    }

    /// Begins at this learning rate.
    #[must_use]
    pub fn with_start(mut self, start: f64) -> Self {
        self.start = start;
        self
    }

    /// Ends at this learning rate.
    #[must_use]
    pub fn with_min(mut self, min: f64) -> Self {
        self.min = min;
        self
    }

    /// Takes this number of steps to the highest learning rate.
    #[must_use]
    pub fn with_warmup(mut self, warmup: usize) -> Self {
        self.warmup = warmup;
        self
    }

    fn at(&self, step: usize) -> f64 {
        let &Self {
            start,
            lr,
            min,
            warmup,
            steps,
        } = self;
        if step < warmup {
            return start + (lr - start) * step as f64 / warmup as f64;
        }
        let length = steps.saturating_sub(warmup).max(1) as f64;
        let part = ((step - warmup) as f64 / length).min(1.0);
        min + (lr - min) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
    }
}

impl Exponential {
    /// Multiplies `lr` by `gamma` every `every` steps.
    pub fn new(lr: f64, gamma: f64, every: usize) -> Self {
        Self { lr, gamma, every }
    }

    fn at(&self, step: usize) -> f64 {
        let times = step / self.every.max(1);
        self.lr * self.gamma.powi(i32::try_from(times).unwrap_or(i32::MAX))
    }
}

impl From<Constant> for Schedule {
    fn from(constant: Constant) -> Self {
        Self::Constant(constant)
    }
}

impl From<WarmupCosine> for Schedule {
    fn from(cosine: WarmupCosine) -> Self {
        Self::WarmupCosine(cosine)
    }
}

impl From<Exponential> for Schedule {
    fn from(exponential: Exponential) -> Self {
        Self::Exponential(exponential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_fall_and_stay_down() {
        let cosine = WarmupCosine::new(1.0, 110).with_min(0.1).with_warmup(10);
        let schedule = Schedule::from(cosine);
        for (step, rate) in [
            (0, 0.0),
            (5, 0.5),
            (10, 1.0),
            (60, 0.55),
            (110, 0.1),
            (500, 0.1),
        ] {
            assert!((schedule.at(step) - rate).abs() < 1e-12, "{step}");
        }
        assert_eq!(Schedule::from(cosine.with_start(0.5)).at(5), 0.75);
        let schedule = Schedule::from(Exponential::new(4e-5, 0.9, 100));
        assert_eq!(schedule.at(99), 4e-5);
        assert!((schedule.at(250) - 4e-5 * 0.81).abs() < 1e-18);
        assert_eq!(Schedule::constant(0.5).at(7), 0.5);
    }

    #[test]
    fn rates_that_are_none_and_endless_warm_ups_are_refused() {
        let cosine = WarmupCosine::new(1e-4, 30);
        assert!(Schedule::from(cosine.with_warmup(29)).validate().is_ok());
        for schedule in [
            cosine.with_warmup(30).into(),
            cosine.with_min(1.0).into(),
            cosine.with_start(f64::NAN).into(),
            Schedule::constant(-1.0),
            Schedule::constant(f64::INFINITY),
            Exponential::new(1e-4, f64::NAN, 3).into(),
        ] {
            assert!(schedule.validate().is_err(), "{schedule:?}");
        }
    }

    #[test]
    fn a_schedule_is_read_from_a_file_and_unknown_keys_are_refused() {
        let text = r#"{"kind": "warmup-cosine", "lr": 0.1, "steps": 5}"#;
        let read: Schedule = serde_json::from_str(text).unwrap();
        assert_eq!(read, WarmupCosine::new(0.1, 5).into());
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&written).unwrap(), read);
        let text = text.replace("steps", "stps");
        assert!(serde_json::from_str::<Schedule>(&text).is_err());
    }
}
