//! The learned queries.

use blip2_kernels::{Precision, Role, Weights};
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

/// The learned query tokens, the same for every picture.
#[derive(Module, Debug)]
pub struct QueryTokens {
    query_tokens: Param<Tensor<3>>,
}

impl QueryTokens {
    /// `count` queries of width `hidden`, from `query_tokens` `[1, count, hidden]`.
    pub fn load(count: usize, hidden: usize, weights: &Weights<'_>) -> Self {
        let weights = weights.with_precision(Precision::F32);
        Self {
            query_tokens: weights.param("query_tokens", [1, count, hidden], Role::Dense),
        }
    }

    /// How many queries there are.
    pub fn count(&self) -> usize {
        self.query_tokens.lazy_shape()[1]
    }

    /// The queries for a batch of pictures, `[batch, count, hidden]`.
    pub fn expand(&self, batch: usize) -> Tensor<3> {
        let queries = self.query_tokens.val();
        let [_, count, hidden] = queries.dims();
        if batch == 0 {
            // Burn does not expand to nothing.
            return queries.slice([0..0, 0..count, 0..hidden]);
        }
        queries.expand([batch, count, hidden])
    }
}
