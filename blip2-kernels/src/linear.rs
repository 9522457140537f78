//! The linear layer, whose weights may be held in a narrower format than it computes in.

use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor, module},
};

/// `y = x · Wᵀ + b` with `W` stored `[out, in]`, as in a Hugging Face checkpoint.
///
/// How `W` is held is this type's own business: models call [`forward`](Linear::forward) and never
/// see the storage, so that a new storage format or kernel touches no model. Activations go in and
/// come out in `f32` whatever the weights are held in.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer of `weight` `[out, in]` and an optional `bias` `[out]`.
    pub fn new(weight: Param<Tensor<2>>, bias: Option<Param<Tensor<1>>>) -> Self {
        Self { weight, bias }
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
        let bias = self.bias.as_ref().map(|bias| bias.val());
        product(input, widened(self.weight.val()), bias)
    }

    /// As [`forward`](Linear::forward), but summed in 64 bits where the device has them.
    ///
    /// For a layer whose rounding all later layers amplify and which is too small a part of the
    /// work for its cost to show: the patch embedding sums hundreds of products for each output,
    /// and is less than a thousandth of a vision tower.
    pub fn forward_exact<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        if !input.device().supports_dtype(DType::F64) {
            return self.forward(input);
        }
        let wide = |bias: &Param<Tensor<1>>| bias.val().cast(DType::F64);
        let weight = self.weight.val().cast(DType::F64).transpose();
        module::linear(input.cast(DType::F64), weight, self.bias.as_ref().map(wide))
            .cast(DType::F32)
    }

    /// The width of the input.
    pub fn d_input(&self) -> usize {
        self.weight.lazy_shape()[1]
    }

    /// The width of the output.
    pub fn d_output(&self) -> usize {
        self.weight.lazy_shape()[0]
    }
}

/// `x · Wᵀ + b` on the last axis, with all others folded into one: for a single sequence of rank 3
/// Flex takes many times as long as for the same rows of rank 2.
pub(crate) fn product<const D: usize>(
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

/// The matrix in `f32`. A narrow matrix is widened for this one product and dropped after it:
/// the model is held once, in its narrow format, and no activation is ever rounded to it.
pub(crate) fn widened(weight: Tensor<2>) -> Tensor<2> {
    if weight.dtype() == DType::F32 {
        weight
    } else {
        weight.cast(DType::F32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn matrix(dtype: DType, device: &Device) -> Param<Tensor<2>> {
        let data = TensorData::from([[1.0f32, 2.0, 3.0], [0.5, -1.0, 0.25]]).convert_dtype(dtype);
        Param::from_tensor(Tensor::from_data(data, (device, dtype)))
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

    #[test]
    fn the_exact_product_loses_nothing_to_cancellation() {
        let device = Device::flex();
        let data = TensorData::from([[1.0f32, 1.0, 1.0]]);
        let weight = Tensor::from_data(data, (&device, DType::F32));
        let linear = Linear::new(Param::from_tensor(weight), None);
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
