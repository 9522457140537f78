//! A course against its golden, and against what rounding may do.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::TensorData;

use super::{
    course::Course,
    recipe::Recipe,
    start::{is_adapter, names, untouched},
};
use crate::{
    error::VerifyError,
    golden::Golden,
    options::VerifyOptions,
    report::{Outcome, Report},
};

/// How many times a norm may be as far from its golden, in parts of itself, as a stage's numbers.
const NORM: f64 = 20.0;

/// Gradients below this part of all gradients' norm are judged as if they were as large.
const SMALL: f64 = 0.02;

/// How many times as far from its golden a number may be as the shaken course is from the course: two
/// right implementations err by about that, each in its own direction.
const ROUNDING: f64 = 4.0;

/// Compares a course with its golden. `shaken` is the course of a batch that differs from the golden's in
/// the last bits.
pub(super) fn judge(
    found: &Course,
    shaken: &Course,
    golden: &Golden,
    recipe: &Recipe,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut bench = Bench {
        golden,
        options,
        report,
    };
    bench.losses(found, shaken, recipe);
    bench.norms(found, shaken, recipe);
    bench.gradients(found, shaken, recipe)?;
    bench.parameters(found, shaken, recipe)
}

struct Bench<'v> {
    golden: &'v Golden,
    options: &'v VerifyOptions,
    report: &'v mut Report,
}

impl Bench<'_> {
    fn losses(&mut self, found: &Course, shaken: &Course, recipe: &Recipe) {
        let goldens = recipe.losses.iter().zip(&recipe.exact_losses);
        // How far the reference in 32 bits is from itself in 64.
        let rounding = goldens
            .clone()
            .fold(0f64, |most, (a, b)| most.max((a - b).abs()));
        let own = found.losses.iter().zip(&shaken.losses);
        for (step, ((&expected, &exact), (&loss, &beside))) in goldens.zip(own).enumerate() {
            let off = (loss - expected).abs().min((loss - exact).abs());
            let base = self.options.base().at_least(rounding).0;
            let allowed = base * (expected.abs() / 10.0).max(1.0);
            let allowed = at_least(allowed, (loss - beside).abs());
            self.push(format!("loss.{step}"), off, expected, allowed);
        }
        let counts = (found.losses.len(), recipe.losses.len());
        self.report
            .push("losses", Outcome::equal(&counts.0, &counts.1));
    }

    fn norms(&mut self, found: &Course, shaken: &Course, recipe: &Recipe) {
        let own = found.norms.iter().zip(&shaken.norms);
        for (step, (&expected, (&norm, &beside))) in recipe.norms.iter().zip(own).enumerate() {
            let allowed = NORM * self.options.base().0 * expected;
            let allowed = at_least(allowed, (norm - beside).abs());
            let off = (norm - expected).abs();
            self.push(format!("grad_norm.{step}"), off, expected, allowed);
        }
    }

    /// The gradients of the first step.
    fn gradients(
        &mut self,
        found: &Course,
        shaken: &Course,
        recipe: &Recipe,
    ) -> Result<(), VerifyError> {
        let small = SMALL * recipe.norms.first().copied().unwrap_or_default();
        let (found, shaken) = (&found.gradients, &shaken.gradients);
        for (stage, key) in self.expected("grad0", found) {
            let Some(pair) = Pair::of(self.golden, &stage, found.get(&key), shaken.get(&key))?
            else {
                continue;
            };
            let allowed = self.options.base().0 * pair.scale.max(small);
            let allowed = at_least(allowed, pair.rounding.most);
            self.push(stage, pair.off.most, pair.scale, allowed);
        }
        Ok(())
    }

    /// The parameters after the last step.
    fn parameters(
        &mut self,
        found: &Course,
        shaken: &Course,
        recipe: &Recipe,
    ) -> Result<(), VerifyError> {
        let (found, shaken) = (&found.parameters, &shaken.parameters);
        for (stage, key) in self.expected("final", found) {
            let Some(pair) = Pair::of(self.golden, &stage, found.get(&key), shaken.get(&key))?
            else {
                continue;
            };
            // A bias of keys moves all of a query's scores alike, which changes nothing: its gradient
            // is rounding alone, which Adam scales up to a whole step.
            let allowed = match stage.ends_with("key.bias") {
                true => 10.0 * recipe.lr,
                false => self.options.base().0,
            };
            let allowed = at_least(allowed, pair.rounding.mean);
            self.push(format!("{stage} (rms)"), pair.off.mean, pair.scale, allowed);
        }
        Ok(())
    }

    /// The golden's stages of this kind with the names of the numbers that they are of, which must be
    /// those that are there.
    fn expected(
        &mut self,
        kind: &str,
        own: &BTreeMap<String, TensorData>,
    ) -> Vec<(String, String)> {
        let idle = untouched(self.golden);
        let mut names = names(self.golden, &format!("{kind}."));
        names.retain(|name| !idle.contains(name));
        let keys: BTreeSet<String> = names.iter().map(|name| own_name(name)).collect();
        let own: BTreeSet<String> = own.keys().cloned().collect();
        self.report
            .push(format!("{kind} (names)"), Outcome::equal(&own, &keys));
        names
            .iter()
            .map(|name| (format!("{kind}.{name}"), own_name(name)))
            .collect()
    }

    fn push(&mut self, stage: String, off: f64, scale: f64, tolerance: f64) {
        let max_abs = if off.is_finite() { off } else { f64::INFINITY };
        let max_rel = match scale.abs() {
            0.0 => max_abs,
            scale => max_abs / scale,
        };
        let outcome = Outcome::Tensor {
            max_abs,
            max_rel,
            tolerance,
        };
        self.report.push(stage, outcome);
    }
}

/// What is allowed, where rounding is known to do as much as `rounding`.
fn at_least(allowed: f64, rounding: f64) -> f64 {
    match rounding.is_finite() {
        true => allowed.max(ROUNDING * rounding),
        false => allowed,
    }
}

/// A tensor beside its golden and beside itself in the shaken course.
struct Pair {
    off: Distance,
    rounding: Distance,
    /// The golden's largest number.
    scale: f64,
}

impl Pair {
    fn of(
        golden: &Golden,
        stage: &str,
        own: Option<&TensorData>,
        shaken: Option<&TensorData>,
    ) -> Result<Option<Self>, VerifyError> {
        let (Some(golden), Some(own), Some(shaken)) = (golden.tensor(stage), own, shaken) else {
            return Ok(None);
        };
        let (golden, own, shaken) = (golden.floats()?, floats(own), floats(shaken));
        let sizes = golden.iter().map(|value| f64::from(*value).abs());
        Ok(Some(Self {
            off: Distance::between(&own, &golden),
            rounding: Distance::between(&own, &shaken),
            scale: sizes.fold(0.0, f64::max),
        }))
    }
}

fn floats(data: &TensorData) -> Vec<f32> {
    data.clone().try_into_vec::<f32>().unwrap_or_default()
}

/// How far two tensors are apart.
struct Distance {
    /// The root of the mean square.
    mean: f64,
    most: f64,
}

impl Distance {
    fn between(a: &[f32], b: &[f32]) -> Self {
        if a.len() != b.len() {
            let (mean, most) = (f64::INFINITY, f64::INFINITY);
            return Self { mean, most };
        }
        let (mut squares, mut most) = (0f64, 0f64);
        for (&a, &b) in a.iter().zip(b) {
            let off = (f64::from(a) - f64::from(b)).abs();
            squares += off * off;
            // Not `f64::max`, which would pass over NaN.
            most = if off <= most { most } else { off };
        }
        let mean = (squares / a.len().max(1) as f64).sqrt();
        Self { mean, most }
    }
}

/// Adapters have another name in PEFT's files than in the goldens.
fn own_name(name: &str) -> String {
    match is_adapter(name) {
        true => format!("{name}.weight"),
        false => name.to_string(),
    }
}
