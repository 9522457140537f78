//! What trains or adapts a model while it is built.

use burn::{module::ParamId, tensor::TensorData};

use super::request::TensorRequest;

/// Sees which parameter each tensor becomes, and says which of them are trained and which layers are
/// adapted.
///
/// It stands beside the [`WeightSource`](super::source::WeightSource), which answers with tensors and
/// knows nothing of training; every method does nothing unless it is written.
///
/// ```
/// use std::cell::RefCell;
///
/// use blip2_kernels::{Bias, RandomWeights, TensorRequest, WeightObserver, Weights};
/// use burn::{module::ParamId, tensor::Device};
///
/// /// Trains heads, and writes their parameters down.
/// #[derive(Default)]
/// struct Heads(RefCell<Vec<(String, ParamId)>>);
///
/// impl WeightObserver for Heads {
///     fn made(&self, request: &TensorRequest<'_>, id: ParamId) {
///         if self.trains(request.name) {
///             self.0.borrow_mut().push((request.name.to_owned(), id));
///         }
///     }
///
///     fn trains(&self, name: &str) -> bool {
///         name.starts_with("head.")
///     }
/// }
///
/// let (source, device, heads) = (RandomWeights::new(0, 0.02), Device::flex(), Heads::default());
/// let weights = Weights::new(&source, &device);
/// let weights = weights.observed_by(&heads);
/// let model = (weights.linear("body", 8, 8, Bias::With), weights.linear("head", 8, 2, Bias::With));
/// let names: Vec<_> = heads.0.take().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["head.weight", "head.bias"]);
/// # let _ = model;
/// ```
pub trait WeightObserver {
    /// Hears which parameter a tensor became: what trains a model knows its parameters by that.
    fn made(&self, request: &TensorRequest<'_>, id: ParamId) {
        let _ = (request, id);
    }

    /// Whether the tensor of this name will be trained, and so is wanted as a tensor of `f32`.
    fn trains(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// What is to be added to the linear layer whose matrix is asked for, without changing it.
    fn low_rank(&self, request: &TensorRequest<'_>) -> Option<LowRankData> {
        let _ = request;
        None
    }
}

/// Nobody observes.
impl WeightObserver for () {}

/// The numbers of a [`LowRank`](crate::LowRank) adapter.
#[derive(Debug, Clone)]
pub struct LowRankData {
    /// `[rank, in]`
    pub a: TensorData,
    /// `[out, rank]`
    pub b: TensorData,
    /// What their product is multiplied by.
    pub scale: f64,
    /// The part of the input's numbers that is left out while gradients are recorded.
    pub dropout: f64,
    /// The lengths that are given to the sum's rows (DoRA).
    pub magnitude: Option<Magnitude>,
}

/// The lengths that DoRA gives the rows of a layer's matrix and what is added to it.
#[derive(Debug, Clone)]
pub enum Magnitude {
    /// Those of the matrix itself, with which a training begins.
    OfMatrix,
    /// `[out]`
    Given(TensorData),
}
