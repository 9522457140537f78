//! Gradients by the names of their parameters.

use std::collections::BTreeMap;

use blip2_kernels::sum_of_squares;
use burn::{
    module::{ModuleVisitor, Param},
    tensor::Tensor,
};

use crate::{error::TrainError, names::Names};

/// The gradients of a loss, for every trained parameter that it depends on, each as one row.
///
/// ```
/// # use blip2_kernels::{Bias, Linear, RandomWeights};
/// # use blip2_train::{TrainPlan, Trained};
/// # use burn::{module::Module, tensor::{Device, Tensor}};
/// # #[derive(Module, Debug)]
/// # struct Line {
/// #     layer: Linear,
/// # }
/// # let source = RandomWeights::new(0, 0.1);
/// # let trained = Trained::build(&source, &Device::flex(), &TrainPlan::all(), |weights| {
/// #     Ok(Line { layer: weights.linear("layer", 2, 1, Bias::With) })
/// # })?;
/// # let loss = |input| {
/// #     let input = Tensor::<2>::from_floats([input], &Device::flex());
/// #     (trained.model().layer.forward(input) - 3.0).square().mean()
/// # };
/// // Of a batch that does not fit in memory at once.
/// let halves = [loss([1.0, 0.0]), loss([0.0, 1.0])];
/// let [first, second] = halves.map(|loss| trained.gradients(loss));
/// let gradients = first?.plus(second?).scaled(0.5).clipped(1.0);
/// assert!(gradients.norm() < 1.0 + 1e-6);
/// assert!(gradients.names().eq(["layer.bias", "layer.weight"]));
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    pub(crate) by_name: BTreeMap<String, Tensor<1>>,
}

impl Gradients {
    /// A parameter's gradient, in the order of its elements.
    pub fn get(&self, name: &str) -> Option<&Tensor<1>> {
        self.by_name.get(name)
    }

    /// The names of the parameters that the loss depends on, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The norm of all gradients together, as one vector.
    pub fn norm(&self) -> f64 {
        let squares = self.by_name.values().map(sum_of_squares);
        squares.sum::<f64>().sqrt()
    }

    /// Clipped: scaled down to a norm of at most `max_norm`, all by one factor
    /// (`torch.nn.utils.clip_grad_norm_`).
    #[must_use]
    pub fn clipped(self, max_norm: f64) -> Self {
        let factor = max_norm / (self.norm() + 1e-6);
        if factor < 1.0 {
            self.scaled(factor)
        } else {
            self
        }
    }

    /// Multiplied by a factor.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let scaled = self.by_name.into_iter();
        self.by_name = scaled
            .map(|(name, gradient)| (name, gradient * factor))
            .collect();
        self
    }

    /// The sum with the gradients of another part of a batch: gradient accumulation.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        for (name, gradient) in other.by_name {
            let sum = match self.by_name.remove(&name) {
                Some(own) => own + gradient,
                None => gradient,
            };
            self.by_name.insert(name, sum);
        }
        self
    }

    /// Refuses gradients that are no numbers.
    pub(crate) fn check(&self, step: usize) -> Result<(), TrainError> {
        let norm = self.norm() as f32;
        match norm.is_finite() {
            true => Ok(()),
            false => Err(TrainError::NotFinite {
                what: "the gradients' norm".into(),
                value: norm,
                step,
                lr: None,
            }),
        }
    }
}

/// The numbers of a parameter as one row, as the optimizer has them.
pub(crate) type Row = Tensor<1>;

/// Reads the gradients out of a model.
pub(crate) struct Collector<'c> {
    pub(crate) names: &'c Names,
    pub(crate) from: &'c burn::tensor::Gradients,
    pub(crate) found: Gradients,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(named) = self.names.get(&param.id) else {
            return;
        };
        let value = param.val();
        if !value.is_require_grad() {
            return;
        }
        if let Some(gradient) = value.grad(self.from) {
            let count = gradient.shape().num_elements();
            let row = gradient.reshape([count]);
            self.found.by_name.insert(named.name.clone(), row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn gradients(values: &[(&str, [f32; 2])]) -> Gradients {
        let by_name = values.iter().map(|(name, values)| {
            let row = Tensor::from_floats(*values, &Device::flex());
            (name.to_string(), row)
        });
        Gradients {
            by_name: by_name.collect(),
        }
    }

    #[test]
    fn all_are_clipped_by_one_factor() {
        let both = gradients(&[("a", [3.0, 0.0]), ("b", [0.0, 4.0])]);
        assert!((both.norm() - 5.0).abs() < 1e-6);
        let clipped = both.clone().clipped(1.0);
        assert!((clipped.norm() - 1.0).abs() < 1e-5);
        let a = clipped.get("a").unwrap().clone().into_data();
        assert!((a.try_to_vec::<f32>().unwrap()[0] - 0.6).abs() < 1e-5);
        assert!((both.clone().clipped(6.0).norm() - 5.0).abs() < 1e-6);
        let sum = both
            .clone()
            .plus(gradients(&[("a", [1.0, 0.0]), ("c", [2.0, 0.0])]));
        assert_eq!(sum.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!((sum.norm() - 6.0).abs() < 1e-5);
        assert!(
            both.plus(gradients(&[("a", [f32::NAN, 0.0])]))
                .check(3)
                .is_err()
        );
    }
}
