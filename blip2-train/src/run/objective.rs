//! What a model is trained for.

use std::collections::BTreeMap;

use blip2_core::CancelToken;
use blip2_io::dataset::{BrokenRecord, Example, LoadedBatch};
use burn::tensor::Tensor;

use super::shared::Shared;
use crate::{error::TrainError, group::Group};

/// What is trained for: a loss, and perhaps a score.
///
/// A closure over a model and a batch is one too, without a score:
///
/// ```
/// use blip2_io::dataset::LoadedBatch;
/// use blip2_train::{At, Losses, Objective, TrainError, device_of};
/// use burn::module::Module;
/// # use blip2_kernels::Linear;
/// # #[derive(Module, Debug)]
/// # struct Model {
/// #     layer: Linear,
/// # }
/// # fn is_objective(_: impl Objective<Model>) {}
///
/// let objective = |model: &Model, batch: &LoadedBatch, _: At| -> Result<Losses, TrainError> {
///     let pixels = batch.pixel_values.clone().tensor(&device_of(model));
///     let levels = model.layer.forward(pixels.flatten::<2>(1, 3));
///     Ok(levels.square().mean().into())
/// };
/// is_objective(objective);
/// ```
pub trait Objective<M> {
    /// The losses of a batch. What they draw at random must follow from `at` alone, so that a
    /// training which goes on is the one that was not interrupted.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the model or the batch.
    fn losses(&mut self, model: &M, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError>;

    /// The losses of this process's part of a batch that several see together; `None` where it has none.
    /// The means over all parts, each with its [weight](Losses::weight), are the losses of the whole
    /// batch.
    ///
    /// By default those of the own part by itself, which is right for losses that are means over
    /// examples, or over what [`Losses::weight`] counts.
    ///
    /// # Errors
    ///
    /// As [`losses`](Self::losses). Where it asks something of the [group](Shared::group), it must make
    /// the same calls in every process, one without examples and one that fails included (see
    /// [`agreed`](crate::agreed)).
    fn losses_together(
        &mut self,
        model: &M,
        shared: &Shared<'_>,
        at: At,
    ) -> Result<Option<Losses>, TrainError> {
        let batch = shared.batch();
        match batch.examples.is_empty() {
            true => Ok(None),
            false => self.losses(model, batch, at).map(Some),
        }
    }

    /// Why no loss can be had of an example; `None` if one can. Asked of all before the first step, so
    /// that a training does not end in its midst.
    fn fault(&self, example: &Example) -> Option<String> {
        let _ = example;
        None
    }

    /// How good the model is, more being better; `None` if nobody knows.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the model or its data, and [`TrainError::Cancelled`].
    fn score(&mut self, model: &M, cancel: &CancelToken) -> Result<Option<Scores>, TrainError> {
        let _ = (model, cancel);
        Ok(None)
    }

    /// [How good](Self::score) the model is, where several processes can find it out together. Of what
    /// they find, that of process 0 counts.
    ///
    /// # Errors
    ///
    /// As [`score`](Self::score) and [`losses_together`](Self::losses_together).
    fn score_together(
        &mut self,
        model: &M,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<Option<Scores>, TrainError> {
        let _ = group;
        self.score(model, cancel)
    }

    /// What [scores](Self::score) are of, in words: a training that goes on compares its scores with
    /// the best one before, whose model is scored again if they are of another kind.
    fn measure(&self) -> Option<String> {
        None
    }

    /// The [measure](Self::measure) without what hangs on which examples can be used, where those that
    /// break are left out; `None` where they are not. Scores of another measure and the same of this are
    /// of the same kind: a training goes on waiting for a better one as it did.
    fn measure_of_the_whole(&self) -> Option<String> {
        None
    }

    /// Scores a few examples, so that what cannot be scored fails before the first step.
    ///
    /// # Errors
    ///
    /// As [`score`](Self::score).
    fn try_score(
        &mut self,
        model: &M,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<(), TrainError> {
        let _ = (model, cancel, group);
        Ok(())
    }
}

impl<M, F> Objective<M> for F
where
    F: FnMut(&M, &LoadedBatch, At) -> Result<Losses, TrainError>,
{
    fn losses(&mut self, model: &M, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError> {
        self(model, batch, at)
    }
}

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// What the best model has most of.
    pub value: f64,
    /// Other scores, by name, for people to see.
    pub others: BTreeMap<String, f64>,
    /// What was left out because it broke since the last evaluation. The objective's
    /// [measure](Objective::measure) is of the others from then on.
    pub left_out: Vec<BrokenRecord>,
}

impl From<f64> for Scores {
    fn from(value: f64) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
}

/// Where in a training one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct At {
    /// How many steps were made.
    pub step: usize,
    /// How many epochs are complete.
    pub epoch: u64,
    /// A number to draw from that no other batch of the training has.
    pub seed: u64,
}

/// The loss of a batch, and what it is made of.
#[derive(Debug, Clone)]
pub struct Losses {
    /// What is minimised, `[1]`.
    pub total: Tensor<1>,
    /// Its parts, for people to see.
    pub parts: Vec<(&'static str, Tensor<1>)>,
    /// How much the batch counts beside the others of a step: how many things `total` is the mean of,
    /// such as tokens. By default its number of examples.
    pub weight: Option<f64>,
}

impl From<Tensor<1>> for Losses {
    fn from(total: Tensor<1>) -> Self {
        Self {
            total,
            parts: Vec::new(),
            weight: None,
        }
    }
}
