//! The account that a verification gives.

use std::fmt;

use serde::Serialize;

/// One golden that was compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// The stage or case, by its golden's name: `vision.hidden.3`, `gen.beam5_lp2`.
    pub stage: String,
    /// What the comparison found.
    pub outcome: Outcome,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Numbers were compared.
    Tensor {
        /// The largest absolute difference, or where the stage is called so (`rms`) the root of the mean
        /// square; infinite if shapes differ or a value is not finite.
        max_abs: f64,
        /// [`max_abs`](Outcome::Tensor::max_abs) over the golden's largest absolute value.
        max_rel: f64,
        /// The largest absolute difference that passes.
        tolerance: f64,
    },
    /// Token ids, texts or other discrete values were compared.
    Exact {
        /// The first difference, in words; `None` if everything is equal.
        difference: Option<String>,
    },
    /// The stage could not be run.
    Failed {
        /// Why.
        error: String,
    },
}

impl Outcome {
    /// Compares two values.
    pub(crate) fn equal<T: PartialEq + fmt::Debug + ?Sized>(found: &T, expected: &T) -> Self {
        let difference = (found != expected).then(|| format!("{found:?} instead of {expected:?}"));
        Self::Exact { difference }
    }

    /// A stage that could not be run.
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        let error = error.to_string();
        Self::Failed { error }
    }

    /// Whether the stage could be run and gave numbers, be they the golden's or not.
    pub fn ran(&self) -> bool {
        match self {
            Self::Tensor { max_abs, .. } => max_abs.is_finite(),
            Self::Exact { .. } => true,
            Self::Failed { .. } => false,
        }
    }

    /// Whether the stage is within its tolerance.
    pub fn passed(&self) -> bool {
        match self {
            Self::Tensor {
                max_abs, tolerance, ..
            } => max_abs <= tolerance,
            Self::Exact { difference } => difference.is_none(),
            Self::Failed { .. } => false,
        }
    }
}

/// A golden that this build did not compare, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The golden's name.
    pub key: String,
    /// Why it was not compared.
    pub reason: String,
}

/// Everything that a verification compared, and what it left.
///
/// Displays as the table that `blip2 verify` prints.
///
/// ```
/// use blip2_core::Device;
/// use blip2_verify::{VerifyOptions, verify};
///
/// let report = &verify("../fixtures/blip2_itr", &VerifyOptions::new(Device::flex()))?[0];
/// for check in &report.checks {
///     println!("{} {}", check.stage, if check.outcome.passed() { "ok" } else { "FAILED" });
/// }
/// assert!(report.first_divergence().is_none());
/// # Ok::<(), blip2_verify::VerifyError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// What was verified.
    pub name: String,
    /// Whether the model was held in a precision that rounds: the goldens are of `f32`, so that its
    /// distances are reported, and it passes if every stage gives numbers.
    pub rounds: bool,
    /// The comparisons, in the order in which data passes the stages.
    pub checks: Vec<Check>,
    /// The goldens that were not compared.
    pub unchecked: Vec<Unchecked>,
}

impl Report {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, stage: impl Into<String>, outcome: Outcome) {
        self.checks.push(Check {
            stage: stage.into(),
            outcome,
        });
    }

    pub(crate) fn skip(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.unchecked.push(Unchecked {
            key: key.into(),
            reason: reason.into(),
        });
    }

    /// Whether every comparison passed and there was at least one; of a model that is
    /// [rounded](Report::rounds), whether every stage gave numbers.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| self.accepts(&check.outcome))
    }

    /// The first stage, in the order of the data, that diverges from its golden.
    pub fn first_divergence(&self) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| !self.accepts(&check.outcome))
    }

    fn accepts(&self, outcome: &Outcome) -> bool {
        outcome.passed() || (self.rounds && outcome.ran())
    }

    /// How far the logits are from those of `f32`, as a share of their largest value, if they were
    /// compared.
    pub fn logits_distance(&self) -> Option<f64> {
        let logits = self.checks.iter().find(|check| check.stage == "logits")?;
        match logits.outcome {
            Outcome::Tensor { max_rel, .. } => Some(max_rel),
            _ => None,
        }
    }

    /// How many generations have the reference's tokens, and of how many.
    pub fn equal_generations(&self) -> (usize, usize) {
        let generations = || {
            self.checks.iter().filter(|check| {
                check.stage.starts_with("gen") && matches!(check.outcome, Outcome::Exact { .. })
            })
        };
        let equal = generations().filter(|check| check.outcome.passed());
        (equal.count(), generations().count())
    }
}

/// To what width stages' names are padded: a golden's cases may be named by anything.
const WIDEST: usize = 60;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .checks
            .iter()
            .map(|c| c.stage.len())
            .max()
            .unwrap_or(5)
            .clamp(5, WIDEST);
        writeln!(f, "{}", self.name)?;
        writeln!(
            f,
            "  {:width$}  {:>9}  {:>9}  {:>9}",
            "stage", "max abs", "max rel", "allowed"
        )?;
        for Check { stage, outcome } in &self.checks {
            write!(f, "  {stage:width$}  ")?;
            let verdict = match (outcome.passed(), self.accepts(outcome)) {
                (true, _) => "ok",
                (false, true) => "rounded",
                (false, false) => "FAILED",
            };
            match outcome {
                Outcome::Tensor {
                    max_abs,
                    max_rel,
                    tolerance,
                } => {
                    writeln!(
                        f,
                        "{max_abs:9.2e}  {max_rel:9.2e}  {tolerance:9.2e}  {verdict}"
                    )?;
                }
                Outcome::Exact { difference: None } => {
                    writeln!(f, "{:>9}  {:>9}  {:>9}  {verdict}", "equal", "", "")?;
                }
                Outcome::Exact {
                    difference: Some(difference),
                } => {
                    writeln!(
                        f,
                        "{:>9}  {:>9}  {:>9}  {verdict}: {difference}",
                        "differs", "", ""
                    )?;
                }
                Outcome::Failed { error } => {
                    writeln!(
                        f,
                        "{:>9}  {:>9}  {:>9}  {verdict}: {error}",
                        "no result", "", ""
                    )?;
                }
            }
        }
        for Unchecked { key, reason } in &self.unchecked {
            writeln!(f, "  not checked: {key} ({reason})")?;
        }
        let passed = self
            .checks
            .iter()
            .filter(|check| check.outcome.passed())
            .count();
        write!(f, "  {passed} of {} checks passed", self.checks.len())?;
        if self.rounds {
            let (equal, all) = self.equal_generations();
            write!(f, " as if in f32; {equal} of {all} generations are equal")?;
            if let Some(distance) = self.logits_distance() {
                write!(f, ", logits are off by {distance:.1e} of the largest")?;
            }
        }
        if let Some(check) = self.first_divergence() {
            write!(f, "; the first stage that diverges is {}", check.stage)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_model_passes_if_it_gives_numbers() {
        let mut report = Report::new("model");
        report.rounds = true;
        let tensor = |max_abs| Outcome::Tensor {
            max_abs,
            max_rel: 0.02,
            tolerance: 1e-4,
        };
        let exact = |difference: Option<&str>| Outcome::Exact {
            difference: difference.map(str::to_string),
        };
        report.push("logits", tensor(0.5));
        report.push("gen.greedy", exact(None));
        report.push("gen.beam3", exact(Some("3 is not 4")));
        assert!(report.passed());
        assert_eq!(report.logits_distance(), Some(0.02));
        assert_eq!(report.equal_generations(), (1, 2));
        assert!(report.to_string().contains("1 of 2 generations"));
        report.push("vision", tensor(f64::INFINITY));
        assert!(!report.passed());
        assert_eq!(report.first_divergence().unwrap().stage, "vision");
    }

    #[test]
    fn the_first_divergence_is_named_and_an_empty_report_does_not_pass() {
        let mut report = Report::new("model");
        assert!(!report.passed());
        let tensor = |max_abs| Outcome::Tensor {
            max_abs,
            max_rel: 0.0,
            tolerance: 1e-4,
        };
        report.push("vision", tensor(1e-5));
        assert!(report.passed());
        report.push("qformer", tensor(f64::INFINITY));
        report.push(
            "logits",
            Outcome::Exact {
                difference: Some("3 is not 4".into()),
            },
        );
        report.skip("bf16.logits", "another precision");
        assert!(!report.passed());
        assert_eq!(report.first_divergence().unwrap().stage, "qformer");
        let text = report.to_string();
        assert!(text.contains("1 of 3 checks passed"), "{text}");
        assert!(
            text.contains("first stage that diverges is qformer"),
            "{text}"
        );
        assert!(
            text.contains("not checked: bf16.logits (another precision)"),
            "{text}"
        );
    }
}
