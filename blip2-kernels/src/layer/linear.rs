//! The linear layer.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

use super::low_rank::LowRank;
use crate::{
    kernel::activation::Activation,
    matrix::{Affine, Matrix, packed::PackedFormat},
    seam::{self, TensorEpilogue, attention::Rounding},
};

/// `y = x · Wᵀ + b` with `W` stored `[out, in]`, as in a Hugging Face checkpoint.
///
/// How `W` is held is this type's own business: models call [`forward`](Linear::forward) and its
/// relatives and never see the storage, so that a new storage format or kernel touches no model.
/// Activations go in and come out in `f32` whatever the weights are held in.
///
/// ```
/// use blip2_kernels::{Activation, Bias, RandomWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let fc = Weights::new(&source, &device).linear("fc", 8, 8, Bias::With);
/// let x = Tensor::<3>::ones([2, 5, 8], &device);
/// let y = fc.forward_activated(x.clone(), Activation::Gelu); // one pass
/// assert_eq!(fc.forward_onto(y, x).dims(), [2, 5, 8]); // and one with the residual
/// ```
#[derive(Module, Debug)]
pub struct Linear {
    weight: Matrix,
    bias: Option<Param<Tensor<1>>>,
    low_rank: Option<LowRank>,
}

impl Linear {
    /// A layer of `weight` `[out, in]` and an optional `bias` `[out]`.
    pub fn new(weight: Matrix, bias: Option<Param<Tensor<1>>>) -> Self {
        Self {
            weight,
            bias,
            low_rank: None,
        }
    }

    /// The layer with an adapter, which is added to what its own matrix and bias make.
    #[must_use]
    pub fn with_low_rank(mut self, low_rank: LowRank) -> Self {
        self.low_rank = Some(low_rank);
        self
    }

    /// Applies the layer to the last axis.
    ///
    /// # Shapes
    ///
    /// - input: `[..., in]`, `f32`
    /// - output: `[..., out]`, `f32`
    ///
    /// # Panics
    ///
    /// If the last axis of `input` is not `in`, as every Burn layer does.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.product(input, None, None)
    }

    /// As [`forward`](Linear::forward), followed by an activation function: one pass where there is
    /// a kernel.
    pub fn forward_activated<const D: usize>(
        &self,
        input: Tensor<D>,
        activation: Activation,
    ) -> Tensor<D> {
        self.product(input, Some(activation), None)
    }

    /// As [`forward`](Linear::forward), added to `residual` `[..., out]`: one pass where there is a
    /// kernel.
    pub fn forward_onto<const D: usize>(&self, input: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        self.product(input, None, Some(residual))
    }

    /// Applies several layers to one input, as [`forward`](Linear::forward) does: one launch on a GPU, where
    /// their matrices are held alike and none has an adapter.
    ///
    /// ```
    /// use blip2_kernels::{Bias, Linear, RandomWeights, Weights};
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
    /// let layer = |name| Weights::new(&source, &device).linear(name, 8, 4, Bias::With);
    /// let (k_proj, v_proj) = (layer("k_proj"), layer("v_proj"));
    /// let [k, v] = Linear::forward_together([&k_proj, &v_proj], Tensor::<3>::ones([2, 5, 8], &device));
    /// assert_eq!((k.dims(), v.dims()), ([2, 5, 4], [2, 5, 4]));
    /// ```
    ///
    /// # Shapes
    ///
    /// - input: `[..., in]`, `f32`
    /// - outputs: `[..., out]` of each layer, `f32`
    ///
    /// # Panics
    ///
    /// If the last axis of `input` is not each layer's `in`.
    pub fn forward_together<const N: usize, const D: usize>(
        layers: [&Self; N],
        input: Tensor<D>,
    ) -> [Tensor<D>; N] {
        let affine = layers.iter().filter_map(|layer| layer.as_affine());
        match <[Affine<'_>; N]>::try_from(affine.collect::<Vec<_>>()) {
            Ok(affine) => seam::linears(input, affine),
            Err(_) => layers.map(|layer| layer.forward(input.clone())),
        }
    }

    /// `activation(self(input)) · up(input)`, the inside of a gated MLP (Shazeer, 2020): two launches on a GPU, as
    /// of [`forward_together`](Self::forward_together).
    ///
    /// # Shapes
    ///
    /// - input: `[..., in]`, `f32`
    /// - output: `[..., out]`, `f32`, of either layer
    pub fn forward_gated<const D: usize>(
        &self,
        up: &Self,
        input: Tensor<D>,
        activation: Activation,
    ) -> Tensor<D> {
        match (self.as_affine(), up.as_affine()) {
            (Some(gate), Some(up)) => seam::gated(input, [gate, up], activation),
            _ => self.forward_activated(input.clone(), activation) * up.forward(input),
        }
    }

    /// As [`forward`](Linear::forward), but summed in 64 bits where the device has them and the
    /// weights are held as a tensor.
    ///
    /// For a layer whose rounding all later layers amplify and which is too small a part of the
    /// work for its cost to show: the patch embedding sums hundreds of products for each output,
    /// and is less than a thousandth of a vision tower.
    pub fn forward_exact<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        match self.as_affine() {
            Some(layer) => seam::linear_exact(input, layer),
            None => self.forward(input),
        }
    }

    /// What the kernels do to this layer's input for its product, see [`Precision`](crate::Precision):
    /// what an attention beside it may do, too.
    pub fn rounding(&self) -> Rounding {
        match self.weight.as_packed().map(|packed| packed.format()) {
            Some(PackedFormat::Bf16 | PackedFormat::Int8 | PackedFormat::Int4) => Rounding::Bf16,
            _ => Rounding::None,
        }
    }

    /// The matrix and the bias, if they are all there is.
    pub(crate) fn as_affine(&self) -> Option<Affine<'_>> {
        self.low_rank.is_none().then(|| Affine {
            matrix: &self.weight,
            bias: self.bias.as_ref().map(|bias| bias.val()),
        })
    }

    /// The sum of squares of each row of the matrix, `[out]`.
    pub(crate) fn row_squares(&self, device: &Device) -> Tensor<1> {
        self.weight.row_squares(device)
    }

    /// The width of the input.
    pub fn d_input(&self) -> usize {
        self.weight.inputs()
    }

    /// The width of the output.
    pub fn d_output(&self) -> usize {
        self.weight.outputs()
    }

    fn product<const D: usize>(
        &self,
        input: Tensor<D>,
        activation: Option<Activation>,
        residual: Option<Tensor<D>>,
    ) -> Tensor<D> {
        let bias = self.bias.as_ref().map(|bias| bias.val());
        let Some(low_rank) = &self.low_rank else {
            let epilogue = TensorEpilogue {
                bias,
                activation,
                residual,
            };
            return seam::linear(input, &self.weight, epilogue);
        };
        if low_rank.is_scaled() {
            let output = low_rank.scaled(input, &self.weight, bias);
            return after(output, activation, residual);
        }
        // The adapter's part is added before the activation, so that only without one a residual can be
        // added with it.
        let (within, behind) = match activation {
            Some(_) => (None, residual),
            None => (residual, None),
        };
        let epilogue = TensorEpilogue {
            bias,
            activation: None,
            residual: Some(low_rank.forward_onto(input.clone(), within)),
        };
        after(
            seam::linear(input, &self.weight, epilogue),
            activation,
            behind,
        )
    }
}

/// `residual + activation(output)`.
fn after<const D: usize>(
    output: Tensor<D>,
    activation: Option<Activation>,
    residual: Option<Tensor<D>>,
) -> Tensor<D> {
    let output = match activation {
        Some(activation) => activation.forward(output),
        None => output,
    };
    match residual {
        Some(residual) => residual + output,
        None => output,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::packed::PackedMatrix;
    use burn::tensor::{DType, Distribution, TensorData, Tolerance};

    fn matrix(dtype: DType, device: &Device) -> Matrix {
        let data = TensorData::from([[1.0f32, 2.0, 3.0], [0.5, -1.0, 0.25]]).convert_dtype(dtype);
        Matrix::Dense(Param::from_tensor(Tensor::from_data(data, (device, dtype))))
    }

    #[test]
    fn computes_x_w_transposed_plus_b_in_every_format() {
        let device = Device::flex();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let bias = Param::from_tensor(Tensor::from_floats([10.0, 20.0], &device));
            let linear = Linear::new(matrix(dtype, &device), Some(bias));
            assert_eq!((linear.d_input(), linear.d_output()), (3, 2));
            let x = Tensor::<3>::from_floats([[[1.0, 1.0, 1.0]], [[2.0, 0.0, 4.0]]], &device);
            let y = linear.forward(x);
            assert_eq!(y.dims(), [2, 1, 2]);
            assert_eq!(
                y.into_data().try_to_vec::<f32>().unwrap(),
                [16.0, 19.75, 24.0, 22.0]
            );
        }
    }

    /// The kernels against Burn's own operations on the same weights, with all that may follow a
    /// product.
    #[test]
    fn packed_layers_equal_dense_ones() {
        let device = Device::flex();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 33, 31), (13, 130, 257), (26, 1025, 32)] {
            let weight = random([outputs, inputs]).into_data();
            let weight = weight.try_to_vec::<f32>().unwrap();
            let bias = random([1, outputs]).squeeze_dim::<1>(0);
            let bias = Some(Param::from_tensor(bias));
            let (x, residual) = (random([rows, inputs]), random([rows, outputs]));
            for format in PackedFormat::ALL {
                let packed = PackedMatrix::pack(format, outputs, inputs, |output, row| {
                    row.copy_from_slice(&weight[output * inputs..][..inputs]);
                });
                let packed = Linear::new(Matrix::Packed(packed), bias.clone());
                let dense = packed.weight.to_tensor(&device);
                let dense = Linear::new(Matrix::Dense(Param::from_tensor(dense)), bias.clone());
                // Where activations are rounded, six standard deviations of what that makes of so
                // many products.
                let tolerance = match format {
                    PackedFormat::F32 | PackedFormat::F16 | PackedFormat::Bf16Exact => {
                        1e-6 * (1.0 + (inputs as f32).sqrt())
                    }
                    _ => 4e-3 + 8e-3 * (inputs as f32).sqrt(),
                };
                let same = |a: Tensor<2>, b: Tensor<2>| {
                    a.into_data().assert_approx_eq::<f32>(
                        &b.into_data(),
                        Tolerance::rel_abs(1e-5, tolerance),
                    );
                };
                same(packed.forward(x.clone()), dense.forward(x.clone()));
                same(
                    packed.forward_onto(x.clone(), residual.clone()),
                    dense.forward_onto(x.clone(), residual.clone()),
                );
                for activation in Activation::ALL {
                    same(
                        packed.forward_activated(x.clone(), activation),
                        dense.forward_activated(x.clone(), activation),
                    );
                }
            }
        }
    }

    #[test]
    fn the_exact_product_loses_nothing_to_cancellation() {
        let device = Device::flex();
        let data = TensorData::from([[1.0f32, 1.0, 1.0]]);
        let weight = Tensor::from_data(data, (&device, DType::F32));
        let linear = Linear::new(Matrix::Dense(Param::from_tensor(weight)), None);
        let x = Tensor::<2>::from_floats([[1e8, 1.0, -1e8]], &device);
        let y = linear.forward_exact(x).into_data();
        assert_eq!(y.try_to_vec::<f32>().unwrap(), [1.0]);
    }

    #[test]
    fn activations_are_not_rounded_to_the_weights_format() {
        let device = Device::flex();
        let linear = Linear::new(matrix(DType::BF16, &device), None);
        let x = Tensor::<2>::from_floats([[1.0009766, 0.0, 0.0]], &device);
        assert_eq!(
            linear.forward(x).into_data().try_to_vec::<f32>().unwrap()[0],
            1.0009766
        );
    }
}
