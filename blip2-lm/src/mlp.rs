//! The MLP of a layer, gated or not.

use blip2_kernels::{Activation, Bias, Linear, Weights, mlp};
use burn::{module::Module, tensor::Tensor};

/// `down(activation(up(x)))`, or where it is gated `down(activation(gate(x)) · up(x))` (Shazeer,
/// 2020).
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    up: Linear,
    gate: Option<Linear>,
    down: Linear,
    #[module(skip)]
    activation: Activation,
}

/// What a checkpoint calls the matrices, and their widths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MlpShape<'a> {
    pub(crate) up: &'a str,
    pub(crate) gate: Option<&'a str>,
    pub(crate) down: &'a str,
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) bias: bool,
}

impl Mlp {
    pub(crate) fn load(shape: MlpShape<'_>, activation: Activation, weights: &Weights<'_>) -> Self {
        let MlpShape {
            hidden,
            inner,
            bias,
            ..
        } = shape;
        let inward = |name| weights.linear(name, hidden, inner, Bias::when(bias));
        Self {
            up: inward(shape.up),
            gate: shape.gate.map(inward),
            down: weights.linear(shape.down, inner, hidden, Bias::when(bias)),
            activation,
        }
    }

    /// The MLP of `x`, times `scale`, added to `residual`.
    ///
    /// # Shapes
    ///
    /// - x, residual and output: `[batch, seq, hidden]`
    pub(crate) fn forward(&self, x: Tensor<3>, residual: Tensor<3>, scale: f64) -> Tensor<3> {
        let Some(gate) = &self.gate else {
            if scale == 1.0 {
                // Both layers in one pass of a kernel: what is between them is never there whole.
                return mlp(x, [&self.up, &self.down], self.activation, residual);
            }
            let inner = self.up.forward_activated(x, self.activation);
            return add_scaled(&self.down, inner, residual, scale);
        };
        let gated = gate.forward_gated(&self.up, x, self.activation);
        add_scaled(&self.down, gated, residual, scale)
    }
}

/// `residual + scale · linear(x)`. A scale of one costs nothing: the kernel adds in its one pass.
pub(crate) fn add_scaled(
    linear: &Linear,
    x: Tensor<3>,
    residual: Tensor<3>,
    scale: f64,
) -> Tensor<3> {
    if scale == 1.0 {
        linear.forward_onto(x, residual)
    } else {
        residual + linear.forward(x) * scale
    }
}
