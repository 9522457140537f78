//! A matrix in one of the ways it can be held.

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor, TensorData, module},
};

use crate::{Activation, PackedMatrix};

/// A matrix `[outputs, inputs]` of weights, to be multiplied with: packed for the kernels, or a
/// tensor of Burn.
///
/// Which of the two is [`Weights`](crate::Weights)' choice: packed on the plain `flex` backend,
/// whose kernels are this crate's; a tensor on all others, and where gradients are recorded, since
/// a packed matrix cannot be trained. A product of a packed matrix with a tensor that kernels do
/// not serve widens the matrix first, so that gradients pass through it.
#[derive(Module, Debug)]
pub struct Matrix {
    /// Either this …
    dense: Option<Param<Tensor<2>>>,
    /// … or this.
    #[module(skip)]
    packed: Option<PackedMatrix>,
    outputs: usize,
    inputs: usize,
}

/// What follows a product.
#[derive(Debug, Default)]
pub(crate) struct Then<const D: usize> {
    pub(crate) bias: Option<Tensor<1>>,
    pub(crate) activation: Option<Activation>,
    pub(crate) residual: Option<Tensor<D>>,
}

impl Matrix {
    /// A matrix that is held as a tensor `[outputs, inputs]`, in any float format.
    pub fn dense(weight: Param<Tensor<2>>) -> Self {
        let shape = weight.lazy_shape();
        Self {
            outputs: shape[0],
            inputs: shape[1],
            dense: Some(weight),
            packed: None,
        }
    }

    /// A matrix that is held packed.
    pub fn packed(matrix: PackedMatrix) -> Self {
        Self {
            outputs: matrix.outputs(),
            inputs: matrix.inputs(),
            dense: None,
            packed: Some(matrix),
        }
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The packed matrix, if it is held so.
    pub fn as_packed(&self) -> Option<&PackedMatrix> {
        self.packed.as_ref()
    }

    /// The weights as a tensor `[outputs, inputs]` of `f32`: a copy, unless they are held so.
    pub fn to_tensor(&self, device: &Device) -> Tensor<2> {
        if let Some(dense) = &self.dense {
            return widened(dense.val());
        }
        let mut values = vec![0.0; self.outputs * self.inputs];
        if let Some(packed) = &self.packed {
            let rows = values.chunks_exact_mut(self.inputs.max(1));
            rows.enumerate()
                .for_each(|(n, row)| packed.read_row(n, row));
        }
        let data = TensorData::new(values, [self.outputs, self.inputs]);
        Tensor::from_data(data, (device, DType::F32))
    }

    /// The rows `indices` as a tensor `[indices, inputs]`, if the matrix is held packed.
    pub(crate) fn packed_rows(&self, indices: &[usize], device: &Device) -> Option<Tensor<2>> {
        let packed = self.packed.as_ref()?;
        let mut values = vec![0.0; indices.len() * self.inputs];
        for (row, &index) in values.chunks_exact_mut(self.inputs.max(1)).zip(indices) {
            packed.read_row(index, row);
        }
        let data = TensorData::new(values, [indices.len(), self.inputs]);
        Some(Tensor::from_data(data, (device, DType::F32)))
    }

    /// The tensor, if the matrix is held so.
    pub(crate) fn as_dense(&self) -> Option<&Param<Tensor<2>>> {
        self.dense.as_ref()
    }

    /// `residual + activation(x · Wᵀ + bias)` on the last axis.
    pub(crate) fn product<const D: usize>(&self, x: Tensor<D>, then: Then<D>) -> Tensor<D> {
        #[cfg(feature = "flex")]
        if let Some(y) = self.kernel(&x, &then) {
            return y;
        }
        #[cfg(feature = "autodiff")]
        if let Some(y) = self.recorded(&x, &then) {
            return y;
        }
        let weight = self.to_tensor(&x.device());
        let y = product(x, weight, then.bias);
        let y = match then.activation {
            Some(activation) => activation.forward(y),
            None => y,
        };
        match then.residual {
            Some(residual) => residual + y,
            None => y,
        }
    }

    /// The product as one operation that records its gradient, where gradients are recorded.
    #[cfg(feature = "autodiff")]
    fn recorded<const D: usize>(&self, x: &Tensor<D>, then: &Then<D>) -> Option<Tensor<D>> {
        match (&self.dense, &self.packed) {
            (Some(dense), _) => crate::recorded::linear(x, &dense.val(), then),
            (_, Some(packed)) => crate::recorded::packed(x, packed, then),
            _ => None,
        }
    }

    /// The product by a kernel, where one serves the operands.
    #[cfg(feature = "flex")]
    fn kernel<const D: usize>(&self, x: &Tensor<D>, then: &Then<D>) -> Option<Tensor<D>> {
        use crate::{flex, isa::Isa, product};

        let packed = self.packed.as_ref()?;
        let mut shape = x.dims();
        let x = flex::lower(x)?;
        let bias = match &then.bias {
            Some(bias) => Some(flex::lower(bias)?),
            None => None,
        };
        let residual = match &then.residual {
            Some(residual) => Some(flex::lower(residual)?),
            None => None,
        };
        let epilogue = product::Epilogue {
            bias: bias.as_ref().map(flex::slice),
            activation: then.activation,
            residual: residual.as_ref().map(flex::slice),
        };
        let y = product::linear(Isa::active(), flex::slice(&x), packed, &epilogue);
        shape[D - 1] = self.outputs;
        Some(flex::lift(y, shape))
    }
}

/// `x · Wᵀ + b` on the last axis, with all others folded into one: for a single sequence of rank 3
/// Flex takes many times as long as for the same rows of rank 2.
fn product<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut shape = input.dims();
    let (width, [d_output, _]) = (shape[D - 1], weight.dims());
    let rows = shape[..D - 1].iter().product();
    let output = module::linear::<2>(input.reshape([rows, width]), weight.transpose(), bias);
    shape[D - 1] = d_output;
    output.reshape(shape)
}

/// The matrix in `f32`. A narrow matrix is widened for one product and dropped after it: the model
/// is held once, in its narrow format, and no activation is rounded to it.
fn widened(weight: Tensor<2>) -> Tensor<2> {
    if weight.dtype() == DType::F32 {
        weight
    } else {
        weight.cast(DType::F32)
    }
}
