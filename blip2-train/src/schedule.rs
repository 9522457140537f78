//! How the learning rate changes.

use serde::{Deserialize, Serialize};

/// A learning rate for each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// Always the same.
    Constant {
        /// The rate.
        lr: f64,
    },
    /// Linear from `start` to `lr` over `warmup` steps, then half a cosine down to `min` at `steps`,
    /// and `min` from there on (the recipe of BLIP-2).
    WarmupCosine {
        /// The rate of the first step.
        #[serde(default)]
        start: f64,
        /// The highest rate.
        lr: f64,
        /// The last rate.
        #[serde(default)]
        min: f64,
        /// How many steps it takes to the highest rate.
        #[serde(default)]
        warmup: usize,
        /// All steps together.
        steps: usize,
    },
    /// Multiplied by `gamma` every `every` steps, such as those of an epoch.
    Exponential {
        /// The first rate.
        lr: f64,
        /// The factor.
        gamma: f64,
        /// How many steps have the same rate.
        every: usize,
    },
}

impl Schedule {
    /// The rate of a step, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        match *self {
            Self::Constant { lr } => lr,
            Self::WarmupCosine {
                start, lr, warmup, ..
            } if step < warmup => start + (lr - start) * step as f64 / warmup as f64,
            Self::WarmupCosine {
                lr,
                min,
                warmup,
                steps,
                ..
            } => {
                let length = steps.saturating_sub(warmup).max(1) as f64;
                let part = ((step - warmup) as f64 / length).min(1.0);
                min + (lr - min) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
            Self::Exponential { lr, gamma, every } => {
                let times = step / every.max(1);
                lr * gamma.powi(i32::try_from(times).unwrap_or(i32::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_fall_and_stay_down() {
        let schedule = Schedule::WarmupCosine {
            start: 0.0,
            lr: 1.0,
            min: 0.1,
            warmup: 10,
            steps: 110,
        };
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
        let schedule = Schedule::Exponential {
            lr: 4e-5,
            gamma: 0.9,
            every: 100,
        };
        assert_eq!(schedule.at(99), 4e-5);
        assert!((schedule.at(250) - 4e-5 * 0.81).abs() < 1e-18);
        assert_eq!(Schedule::Constant { lr: 0.5 }.at(7), 0.5);
    }
}
