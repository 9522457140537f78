//! What is added to a linear layer to adapt it.

use burn::{
    module::{Module, Param},
    tensor::{Distribution, Tensor},
};

/// A low-rank adapter (LoRA; Hu et al., 2021): `scale · B · A · x`, to be added to what a layer makes
/// of `x`. The layer's own matrix stays as it is, in whatever format.
#[derive(Module, Debug)]
pub struct LowRank {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
    scale: f64,
    dropout: f64,
}

impl LowRank {
    /// An adapter of `a` `[rank, in]` and `b` `[out, rank]`. While gradients are recorded, the part
    /// `dropout` of the input's numbers is left out and the others are scaled up for it.
    pub fn new(a: Param<Tensor<2>>, b: Param<Tensor<2>>, scale: f64, dropout: f64) -> Self {
        Self {
            a,
            b,
            scale,
            dropout,
        }
    }

    /// What is added, `[..., out]`, for `[..., in]`.
    pub(crate) fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let mut shape = input.dims();
        let width = shape[D - 1];
        let rows = shape[..D - 1].iter().product();
        let input = self.dropped(input.reshape([rows, width]));
        let inner = input.matmul(self.a.val().transpose());
        let output = inner.matmul(self.b.val().transpose()) * self.scale;
        shape[D - 1] = output.dims()[1];
        output.reshape(shape)
    }

    fn dropped(&self, input: Tensor<2>) -> Tensor<2> {
        if self.dropout == 0.0 || !self.a.val().is_autodiff() {
            return input;
        }
        let kept = 1.0 - self.dropout;
        let mask = Tensor::random(input.dims(), Distribution::Bernoulli(kept), &input.device());
        input * mask / kept
    }
}
