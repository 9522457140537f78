//! A norm of either kind.

use blip2_kernels::{LayerNorm, RmsNorm, Weights};
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use super::NormKind;

/// A norm over the last axis.
#[derive(Module, Debug)]
pub(super) enum Norm {
    Layer(LayerNorm),
    Rms(RmsNorm),
}

impl Norm {
    pub(super) fn load(kind: NormKind, name: &str, width: usize, weights: &Weights<'_>) -> Self {
        match kind {
            NormKind::Layer { eps, affine: true } => {
                Self::Layer(weights.layer_norm(name, width, eps))
            }
            NormKind::Layer { eps, affine: false } => Self::Layer(plain(width, eps, weights)),
            NormKind::Rms { eps } => Self::Rms(weights.rms_norm(name, width, eps)),
        }
    }

    /// # Shapes
    ///
    /// - x and output: `[batch, seq, width]`
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
    }
}

/// A layer norm of which nothing is stored: a scale of one and no offset.
fn plain(width: usize, eps: f64, weights: &Weights<'_>) -> LayerNorm {
    let device = weights.device();
    let norm = LayerNorm::new(
        Param::from_tensor(Tensor::ones([width], device)),
        Param::from_tensor(Tensor::zeros([width], device)),
        eps,
    );
    norm.no_grad() // there is nothing to learn
}
