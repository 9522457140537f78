//! What every verification does with what it finds.

use blip2_core::Blip2Error;
use burn::tensor::Tensor;

use crate::{
    golden::{Golden, Tolerance},
    report::{Outcome, Report},
};

/// A verification under way: it compares what it computes with goldens by their names.
pub(crate) trait Compare {
    fn golden(&self) -> &Golden;
    fn report(&mut self) -> &mut Report;
    fn tolerance(&self) -> Tolerance;

    /// Compares a tensor with the golden of this name, if there is one.
    fn tensor<const D: usize>(&mut self, key: &str, found: Tensor<D>) {
        if let Some(golden) = self.golden().tensor(key) {
            let outcome = self.tolerance().compare_tensor(found, golden);
            self.report().push(key, outcome);
        }
    }

    /// Compares tensors with `prefix.0`, `prefix.1`, …
    fn series<const D: usize>(&mut self, prefix: &str, found: Vec<Tensor<D>>) {
        let tolerance = self.tolerance();
        let goldens = self.golden().series(prefix);
        if goldens.is_empty() {
            return;
        }
        let (count, expected) = (found.len(), goldens.len());
        let outcomes: Vec<_> = goldens
            .into_iter()
            .zip(found)
            .map(|((key, golden), found)| (key, tolerance.compare_tensor(found, golden)))
            .collect();
        if count != expected {
            let error = format!("{count} tensors where there are {expected} goldens");
            self.report().push(prefix, Outcome::Failed { error });
        }
        for (key, outcome) in outcomes {
            self.report().push(key, outcome);
        }
    }

    /// A result, or a failed check in its place.
    fn run<T>(&mut self, stage: &str, result: Result<T, impl Into<Blip2Error>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let error = error.into().to_string();
                self.report().push(stage, Outcome::Failed { error });
                None
            }
        }
    }
}

/// A verification that needs nothing besides the goldens.
pub(crate) struct Comparison<'v> {
    golden: &'v Golden,
    report: &'v mut Report,
    tolerance: Tolerance,
}

impl<'v> Comparison<'v> {
    pub(crate) fn new(golden: &'v Golden, report: &'v mut Report, tolerance: Tolerance) -> Self {
        Self {
            golden,
            report,
            tolerance,
        }
    }
}

impl Compare for Comparison<'_> {
    fn golden(&self) -> &Golden {
        self.golden
    }

    fn report(&mut self) -> &mut Report {
        self.report
    }

    fn tolerance(&self) -> Tolerance {
        self.tolerance
    }
}
