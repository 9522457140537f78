//! What trains or adapts a model while it is built.

use burn::{module::ParamId, tensor::TensorData};

use super::request::TensorRequest;

/// Sees which parameter each tensor becomes, and says which of them are trained and which layers are
/// adapted.
///
/// It stands beside the [`WeightSource`](super::source::WeightSource), which answers with tensors and
/// knows nothing of training; every method does nothing unless it is written.
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
}
